"""Calls every operation of the generated server with the generated client: run it where the two lie."""

import threading
import unittest

import models
from client import Client
from server import serve


class Tryout(unittest.TestCase):
    """The examples of the description come back as models."""

    def setUp(self) -> None:
        server = serve()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.client = Client(f"http://127.0.0.1:{server.server_port}")

    def test_books(self) -> None:
        first, second = self.client.list_books()
        self.assertEqual(first.title, "The Orchard Year")
        self.assertEqual(self.client.get_book(2), second)

    def test_changes(self) -> None:
        new = models.NewBook("Hedge Birds", "M. Low", 140)
        self.assertEqual(self.client.add_book(new), models.Book(3, new.title, new.author, new.pages, False))
        self.assertIsNone(self.client.remove_book(3))


if __name__ == "__main__":
    unittest.main()
