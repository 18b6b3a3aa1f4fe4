#!/usr/bin/env python3
"""bench/serving: its arithmetic on measurements made by hand. What it measures, `bench/serving --quick` shows."""
import importlib.machinery
import importlib.util
import os
import sys
import unittest

SERVING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "serving")


def load():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("bench_serving", SERVING)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_serving", loader))
    loader.exec_module(module)
    return module


serving = load()


def bench():
    return serving.Bench.__new__(serving.Bench)  # without programs


class Arithmetic(unittest.TestCase):
    def test_the_bound_is_of_work_that_takes_turns(self):
        made = bench()
        made.found = {("echo, 16 in flight", "rate"): [100, 30, 20], ("in process, 16 in flight", "rate"): [60, 10, 900]}
        # 30 calls take a second and 60 images another one: 20 of both take one.
        self.assertAlmostEqual(made.bound(16), 20)

    def test_progress_is_counted_in_images_over_epochs(self):
        made = bench()
        made.job = "j"
        made.convctl = lambda *_: '{"progress": {"epoch": "3", "step": "5", "steps": "60"}}'
        self.assertEqual(made.trained_images()[0], (2 * 60 + 5) * 1000)
        made.convctl = lambda *_: "{}"
        self.assertEqual(made.trained_images()[0], 0)


if __name__ == "__main__":
    unittest.main()
