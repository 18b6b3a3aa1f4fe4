#!/usr/bin/env python3
"""bench/run: its arithmetic on measurements made by hand, and a short run of the real programs.

usage: run_test.py BUILD [unittest's arguments]
"""
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import types
import unittest

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "run")
BUILD = None


def load():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("bench_run", RUN)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    loader.exec_module(module)
    return module


run = load()


def measured(program, variant, rate, peak=100.0):
    return {"program": program, "variant": variant, "images_per_second": rate, "peak_gflops": peak, "peak_share": 0.5,
            "instruction_set": "avx512", "version": "1", "onednn": "2.6.3"}


def rounds(program, variant, rates, peak=100.0):
    return [measured(program, variant, rate, peak) for rate in rates]


CASE = run.Case("train", "keras-mnist", 1000, 2)
RESULTS = (rounds("convd", "2 workers", [900, 1000, 5000], 200) + rounds("convd, 1 worker", "1 worker", [500, 520, 540]) +
           rounds("convd, bf16", "2 workers", [700, 700, 700], 200) +
           rounds("convd, no floor", "2 workers", [1100, 1100, 1100], 200) +
           rounds("PyTorch", "NCHW", [100, 200, 250]) + rounds("PyTorch", "NHWC", [190, 195, 210]) +
           rounds("PyTorch", "tried once", [900]))


class Arithmetic(unittest.TestCase):
    def test_the_best_variant_has_the_highest_median_of_those_in_every_round(self):
        self.assertEqual({r["variant"] for r in run.best(RESULTS, "PyTorch")}, {"NCHW"})
        self.assertEqual(run.best(RESULTS, "ONNX Runtime (Node.js)"), [])

    def test_scaling_is_a_share_of_what_the_peak_scales(self):
        self.assertAlmostEqual(run.scaling(RESULTS), 1000 / 520 / 2)
        self.assertIsNone(run.scaling(rounds("convd", "2 workers", [1])))

    def test_other_programs_of_ours_are_held_to_f32_and_to_the_best_peer(self):
        self.assertEqual(run.against(RESULTS, "convd, bf16"), (0.7, 3.5))
        self.assertEqual(run.against(RESULTS[:9], "convd, bf16"), (0.7, None))
        self.assertIsNone(run.against(RESULTS, "convd, int8"))

    def test_a_variant_far_behind_is_tried_once(self):
        slow = run.Run("PyTorch", "slow", [], {})
        tried = [measured("PyTorch", "slow", 40), measured("PyTorch", "fast", 100)]
        self.assertFalse(run.contends(slow, tried, 1))
        tried[0]["images_per_second"] = 60
        self.assertTrue(run.contends(slow, tried, 1))
        self.assertFalse(run.contends(slow, tried, 2))
        self.assertFalse(run.contends(run.Run("PyTorch", "failed", [], {}), tried, 1))

    def test_the_table_says_rates_ratios_and_shares(self):
        options = types.SimpleNamespace(rounds=3, quick=False, isa=None)
        text = run.table(options, {CASE: RESULTS}, [0.0, 1.0])
        self.assertIn("| keras-mnist | training | 1000 | 2 | 1,000 (2 workers) | 50% | 200 (NCHW) | 5.00 |", text)
        self.assertIn("96% (keras-mnist training, batch 1000, 2 threads)", text)
        self.assertIn("In bf16, as a multiple of convd's f32 and the best peer's (which are f32): 0.70 and 3.50", text)
        self.assertIn("floor of 16 micro-batches a batch, as a multiple of convd's f32", text)
        self.assertIn(": 1.10 and 5.50 (", text)
        self.assertNotIn("In int8", text)
        self.assertIn("An epoch of the whole data set takes convd 60.0 s", text)

    def test_a_case_without_any_measurement_has_dashes(self):
        options = types.SimpleNamespace(rounds=3, quick=True, isa="avx2")
        text = run.table(options, {CASE: []}, [0.0, 1.0])
        self.assertIn("| keras-mnist | training | 1000 | 2 | – | – |", text)
        self.assertEqual(list(run.history({CASE: []})), [])

    def test_the_history_keeps_a_line_a_case(self):
        line, = run.history({CASE: RESULTS})
        self.assertEqual((line["images_per_second"], line["batch"], line["scaling"]), (1000, 1000, 0.962))
        self.assertEqual(line["peers"]["PyTorch"]["ratio"], 5)
        self.assertEqual(line["of_f32"], {"convd, bf16": 0.7, "convd, no floor": 1.1})
        json.dumps(line)


class RealPrograms(unittest.TestCase):
    def bench(self, *arguments):
        return subprocess.run([RUN, "--build", BUILD, "--peers", "--rounds", "1", "--quick", *arguments],
                              capture_output=True, text=True, timeout=240, check=False)

    def test_measures_every_program_of_ours(self):
        with tempfile.TemporaryDirectory() as folder:
            table, raw = os.path.join(folder, "table.md"), os.path.join(folder, "raw.jsonl")
            done = self.bench("--networks", "lenet5", "--batches", "32", "--output", table, "--raw", raw)
            self.assertEqual(done.returncode, 0, done.stderr)
            with open(raw, encoding="utf-8") as file:
                found = [json.loads(line) for line in file]
            with open(table, encoding="utf-8") as file:
                text = file.read()
        # The effective instruction set may be capped for a whole run of the tests: then by an environment that
        # bench/run takes away.
        expected = {"convd", "convd, 1 worker", "convd, no floor"}
        expected |= {f"convd, {p}" for p, flag in run.NEEDS.items() if flag in run.cpu()[1]}
        self.assertEqual({r["program"] for r in found}, expected)
        for result in found:
            self.assertGreater(result["images_per_second"], 0)
        self.assertIn("| lenet5 | training | 32 | 2 |", text)
        self.assertIn("| lenet5 | prediction | 32 | 2 |", text)

    def test_says_what_is_missing(self):
        done = subprocess.run([RUN, "--build", "/nowhere"], capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nowhere/bin/train is not there", done.stderr)
        done = self.bench("--history")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--history is for full runs", done.stderr)


if __name__ == "__main__":
    BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
