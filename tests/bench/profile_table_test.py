"""The table of a profile gives the known times, counts and kinds of handmade traces, and says why one cannot be read.

Usage: profile_table_test.py [unittest options]
"""

import contextlib
import gzip
import io
import json
import pathlib
import re
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench"))
import profile_table  # noqa: E402

#: ns; as µs with thousandths it has about as many digits as a double, as in a trace.
BOOT = 4901933055145073


def time_stamp(start):
    """What stands in a trace, but for quotation marks around it."""
    whole, thousandths = divmod(BOOT + round(1e3 * start), 1000)
    return f"{whole}.{thousandths:03d}"


def event(category, name, start, length, thread=1):
    """Times in µs."""
    return {"ph": "X", "cat": category, "name": name, "pid": 7, "tid": thread, "ts": time_stamp(start), "dur": length}


def operation(name, start, length, thread=1):
    return event("cpu_op", name, start, length, thread)


def kernel(name, start, length, stream=7):
    return event("kernel", name, start, length, stream)


#: What traces hold beside operations and kernels.
BYSTANDERS = [{"ph": "M", "name": "process_name", "pid": 7, "tid": 0, "ts": time_stamp(0), "args": {"name": "python"}},
              {"ph": "s", "cat": "fwdbwd", "name": "fwdbwd", "id": 1, "pid": 7, "tid": 1, "ts": time_stamp(0)},
              event("user_annotation", "Optimizer.step#AdamW.step", -5000, 9000),
              event("gpu_user_annotation", "Optimizer.step#AdamW.step", 0, 9000, thread=7),
              event("cuda_runtime", "cudaDeviceSynchronize", 0, 9000),
              event("Trace", "PyTorch Profiler (0)", -9000, 90000)]


class ProfileTable(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)

    def trace(self, name, events):
        path = self.root / name
        opening = gzip.open if name.endswith(".gz") else open
        with opening(path, "wt", encoding="utf-8") as file:
            text = json.dumps({"schemaVersion": 1, "traceEvents": [*BYSTANDERS, *events]})
            file.write(re.sub(r'"(\d+\.\d{3})"', r"\1", text))
        return path

    def run_main(self, *words):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
            status = profile_table.main(list(map(str, words)))
        return status, out.getvalue(), error.getvalue()

    def rows(self, *words):
        """Cells by the first one, of the summary and of single kernels or operations."""
        status, out, error = self.run_main(*words)
        self.assertEqual((status, error), (0, ""))
        return [{cells[0]: cells[1:] for line in table.splitlines() for cells in [line.strip("| ").split(" | ")]}
                for table in out.split("\n\n")]

    def refused(self, message, *words):
        status, out, error = self.run_main(*words)
        self.assertEqual((status, out), (2, ""))
        self.assertEqual(len(error.splitlines()), 1, error)
        self.assertTrue(error.startswith("error: "), error)
        self.assertIn(message, error)

    def test_self_time_leaves_out_what_is_nested_in_the_same_thread(self):
        trace = self.trace("trainer.json", [
            # Of addmm inside linear inside an outer operation, and of a second linear right after the first.
            operation("aten::addmm", 110, 600), operation("outer", 0, 2000), operation("aten::linear", 100, 1000),
            operation("aten::linear", 1100, 300.5), operation("aten::linear", 2000, 99.5),
            # At the same time in another thread.
            operation("aten::addmm", 100, 400, thread=2)])
        summary, single = self.rows(trace, "--steps", "2")
        self.assertEqual(summary["ms a step"], ["trainer"])
        self.assertEqual(summary["all operations"], ["1.250"])
        self.assertEqual(summary["wall time"], ["1.050"])
        self.assertEqual(list(single)[2:], ["`aten::addmm`", "`aten::linear`", "`outer`"])
        self.assertEqual(single["`aten::addmm`"], ["0.500", "1"])
        self.assertEqual(single["`aten::linear`"], ["0.400", "1.5"])
        self.assertEqual(single["`outer`"], ["0.350", "0.5"])

    def test_one_that_starts_with_the_operation_around_it_is_nested(self):
        trace = self.trace("a.json", [operation("inner", 0, 100), operation("outer", 0, 300)])
        single = self.rows(trace, "--steps", "1")[1]
        self.assertEqual((single["`inner`"], single["`outer`"]), (["0.100", "1"], ["0.200", "1"]))

    def test_calls_that_follow_each_other_at_once_are_not_nested(self):
        for boot in (73, BOOT):
            with self.subTest(boot), mock.patch(f"{__name__}.BOOT", boot):
                trace = self.trace("a.json", [operation("aten::mul", 1.001 * number, 1.001) for number in range(100)])
                self.assertEqual(self.rows(trace, "--steps", "10")[1]["`aten::mul`"], ["0.010", "10"])

    def test_an_operation_that_dispatches_to_itself_is_one_call(self):
        trace = self.trace("eager.json", [operation("aten::add_", 0, 300), operation("aten::add_", 100, 100)])
        self.assertEqual(self.rows(trace, "--steps", "1")[1]["`aten::add_`"], ["0.300", "1"])

    def test_kernels_are_counted_by_kind_beside_the_time_that_the_gpu_is_idle(self):
        product, add = "nvjet_hsh_128x256_64x4", "void at::native::vectorized_elementwise_kernel<4, CUDAFunctor_add>"
        trainer = self.trace("trainer.json.gz", [
            operation("aten::mm", -1000, 50), kernel(product, 0, 2000), kernel(product, 3000, 1000),
            kernel(add, 3500, 1500, stream=8), event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 8000, 1000, 9)])
        eager = self.trace("eager.json", [kernel(product, 0, 4000), kernel(add, 4000, 0.5)])
        summary, single = self.rows(trainer, eager, "--steps", "2")
        self.assertEqual(summary["ms a step"], ["trainer", "eager", "trainer ÷ eager"])
        self.assertEqual(list(summary)[2:], ["matrix products", "copies, casts", "other elementwise",
                                             "all kernels and copies", "GPU busy", "wall time", "GPU idle"])
        self.assertEqual(summary["matrix products"], ["1.500", "2.000", "0.75"])
        self.assertEqual(summary["copies, casts"], ["0.500", "0.000", "–"])
        self.assertEqual(summary["other elementwise"], ["0.750", "0.000", "3000.00"])
        self.assertEqual(summary["all kernels and copies"], ["2.750", "2.000", "1.37"])
        self.assertEqual(summary["GPU busy"], ["2.500", "2.000", "1.25"])
        self.assertEqual(summary["wall time"], ["5.000", "2.000", "2.50"])
        self.assertEqual(summary["GPU idle"], ["2.500", "0.000", "–"])
        self.assertEqual(list(single)[2:], [f"`{product}`", "`vectorized_elementwise_kernel<4, CUDAFunctor_add>`",
                                            "`Memcpy HtoD (Pinned -> Device)`"])
        self.assertEqual(single[f"`{product}`"], ["matrix products", "1.500", "1", "2.000", "0.5", "0.75"])

    def test_what_the_rows_leave_out_stands_in_the_last(self):
        trace = self.trace("a.json", [kernel(f"gemm_{number}", 100 * number, 10 * number) for number in range(1, 5)])
        single = self.rows(trace, "--steps", "1", "--rows", "2")[1]
        self.assertEqual(list(single)[2:], ["`gemm_4`", "`gemm_3`", "2 others"])
        self.assertEqual(single["2 others"], ["", "0.030", "2"])

    def test_kinds_of_the_kernels_that_a_step_of_gpt2_launches(self):
        kinds = {
            "attention": ["void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, cutlass::bfloat16_t>>",
                          "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_3_64x64x128_cga1x1x1",
                          "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)"],
            "matrix products": ["sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_cublas", "nvjet_tst_NNT",
                                "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128>",
                                "void cublasLt::splitKreduce_kernel<32, 16, int, __nv_bfloat16>"],
            "norm": ["void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>",
                     "void at::native::(anonymous namespace)::layer_norm_grad_input_kernel_vectorized<float>",
                     "void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<float>",
                     "triton_per_fused__to_copy_embedding_native_layer_norm_0"],
            "cross entropy, softmax": ["void at::native::(anonymous namespace)::cunn_SoftMaxForward<4, float>",
                                       "void at::native::(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d",
                                       "triton_red_fused__log_softmax_nll_loss_forward_3", "cross_entropy_kernel"],
            "optimizer, clipping": ["void at::native::(anonymous namespace)::multi_tensor_apply_kernel<"
                                    "FusedOptimizerTensorListMetadata<4>, FusedAdamMathFunctor<float, 4>>",
                                    "void at::native::lpnorm_cleanup<float, NormType::L2>"],
            "embedding, index": ["void at::native::(anonymous namespace)::indexSelectLargeIndex<float, long>",
                                 "void at::native::(anonymous namespace)::embedding_backward_feature_kernel<float>",
                                 "void at::native::index_elementwise_kernel<128, 4, gpu_index_kernel>"],
            "copies, casts": ["Memcpy DtoH (Device -> Pageable)", "Memset (Device)",
                              "void at::native::vectorized_elementwise_kernel<4, bfloat16_copy_kernel_cuda>",
                              "void at::native::elementwise_kernel<128, 2, direct_copy_kernel_cuda>",
                              "triton_poi_fused__to_copy_12"],
            "other elementwise": ["void at::native::vectorized_elementwise_kernel<4, GeluCUDAKernelImpl>",
                                  "triton_poi_fused_add_gelu_4"],
            "other": ["void at::native::reduce_kernel<128, 4, ReduceOp<c10::BFloat16, func_wrapper_t>>"]}
        self.assertEqual(list(kinds), list(profile_table.KINDS))
        for kind, names in kinds.items():
            for name in names:
                with self.subTest(name):
                    self.assertEqual(profile_table.kind_of(name), kind)

    def test_long_names_and_bars_fit_in_a_cell(self):
        self.assertEqual(profile_table.short("void at::native::(anonymous namespace)::gather<a|b>"), "`gather<a\\|b>`")
        self.assertEqual(len(profile_table.short("k" * 1000)), profile_table.NAME_LENGTH + 2)

    def test_a_trace_that_cannot_be_read_is_one_line(self):
        self.refused("absent.json: No such file", self.root / "absent.json")
        texts = {"empty.json": "", "cut.json": '{"traceEvents": [{"ph": "X",', "list.json": "[]", "none.json": "{}",
                 "text.json.gz": "{}", "number.json": '{"traceEvents": [1]}'}
        for name, text in texts.items():
            (self.root / name).write_text(text)
            with self.subTest(name):
                self.refused(f"{self.root / name}", self.root / name)
        (self.root / "cut.json.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
        self.refused("cut.json.gz is no Chrome trace", self.root / "cut.json.gz")
        lame = operation("aten::mm", 0, 1)
        del lame["dur"]
        self.refused("is no Chrome trace: 'dur' is missing", self.trace("lame.json", [lame]))
        self.refused("has no events of operations or kernels", self.trace("nothing.json", []))

    def test_traces_with_kernels_and_without_are_not_compared(self):
        cpu = self.trace("cpu.json", [operation("aten::mm", 0, 1)])
        gpu = self.trace("gpu.json", [kernel("gemm", 0, 1)])
        for traces in ((cpu, gpu), (gpu, cpu)):
            self.refused(f"{gpu} has GPU kernels and {cpu} has none", *traces)

    def test_steps_and_rows_are_at_least_one(self):
        for option in ("--steps", "--rows"):
            with contextlib.redirect_stderr(io.StringIO()) as error, self.assertRaises(SystemExit):
                profile_table.main(["trace.json", option, "0"])
            self.assertIn("0 must be a whole number of at least 1", error.getvalue())


if __name__ == "__main__":
    unittest.main()
