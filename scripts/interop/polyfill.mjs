// js-libp2p uses Promise.withResolvers, which Node 20 has not; loaded before all else with --import.
Promise.withResolvers ??= function withResolvers() {
  let resolve
  let reject
  const promise = new Promise((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
