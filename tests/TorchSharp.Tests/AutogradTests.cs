using System.Runtime.InteropServices;
using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>Backward, grad, the modes, and functions whose backward is written in C#.</summary>
public sealed class AutogradTests
{
    [Fact]
    public void Backward_Twice_AccumulatesIntoGrad()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = tensor(new[] { 2.0, 3 }, requires_grad: true);
        Assert.Null(x.grad);
        Tensor y = x.square().sum();
        y.backward(retain_graph: true);
        autograd.backward(y, retain_graph: true);
        autograd.backward([y], retain_graph: true);
        autograd.backward(x * 2, tensor(new[] { 1.0, 10 }));
        (x * 2).backward([tensor(new[] { 1.0, 10 })]);
        Values(x.grad!, [2], [12 + 4, 18 + 40]);
        x.grad!.zero_();
        Values(x.grad!, [2], [0, 0]);
        x.grad = null;
        Assert.Null(x.grad);
        x.grad = tensor(new[] { 1.0, 2 });
        Values(x.grad!, [2], [1, 2]);
        Assert.Throws<ExternalException>(() => x.grad = zeros(3));
    }

    [Fact]
    public void Backward_IntoChosenInputs_LeavesTheOthers()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = tensor(2.0, requires_grad: true), y = tensor(3.0, requires_grad: true);
        (x * y).backward(inputs: [x]);
        Values(x.grad!, [], [3]);
        Assert.Null(y.grad);
    }

    [Fact]
    public void Grad_OfSecondOrder_IsTheSecondDerivative()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = tensor(2.0, requires_grad: true), unused = tensor(1.0, requires_grad: true);
        Tensor first = autograd.grad([x.pow(3)], [x], create_graph: true)[0];
        Values(first, [], [12]);
        Values(autograd.grad([first], [x])[0], [], [12]);
        Values(autograd.grad([x.pow(3)], [x], [tensor(0.5)])[0], [], [6]);
        Assert.Null(autograd.grad([x * 2], [unused], allow_unused: true)[0]);
        Assert.Throws<ExternalException>(() => autograd.grad([x * 2], [unused]));
        Assert.Null(x.grad);
    }

    [Fact]
    public void Modes_EndWithTheirScopes()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = ones(1, requires_grad: true);
        Assert.True(is_grad_enabled());
        using (no_grad())
        {
            Assert.False(is_grad_enabled());
            Assert.False((x * 2).requires_grad);
            using (enable_grad()) Assert.True((x * 2).requires_grad);
            using (set_grad_enabled(true)) Assert.True(is_grad_enabled());
            Assert.False(is_grad_enabled());
        }
        using (inference_mode())
        {
            Assert.True(is_inference_mode_enabled());
            Assert.False((x * 2).requires_grad);
        }
        Assert.False(is_inference_mode_enabled());
        Assert.True(is_grad_enabled());
        Assert.True((x * 2).requires_grad);
    }

    [Fact]
    public void Leaves_AreToldFromResults()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = ones(1).requires_grad_(), y = x * 2;
        Assert.True(x.is_leaf && x.requires_grad && !y.is_leaf);
        Assert.True(ones(1).with_requires_grad().requires_grad);
        y.retain_grad();
        y.sum().backward();
        Values(y.grad!, [1], [1]);
        Assert.False(y.detach().requires_grad);
        Assert.True(y.detach_().is_leaf);
        x.requires_grad = false;
        Assert.False(x.requires_grad);
    }

    [Fact]
    public void Anomaly_WhileLooked_NamesNaN()
    {
        using DisposeScope scope = NewDisposeScope();
        using (autograd.detect_anomaly())
        {
            Assert.True(AnomalyMode.IsEnabled && AnomalyMode.ShouldCheckNaN);
            Tensor x = tensor(-1.0, requires_grad: true);
            Assert.Throws<ExternalException>(() => (x.sqrt() * 0).backward());
        }
        Assert.False(AnomalyMode.IsEnabled);
        using (autograd.set_detect_anomaly(true, check_nan: false)) Assert.False(AnomalyMode.ShouldCheckNaN);
    }

    [Fact]
    public void Function_OfOneOutput_UsesItsBackward()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor X() => tensor(new[] { 0.5, -1, 2 });
        Forms(X, [3], [0.75, 3, 12], x => ScaledSquare.apply(x, 3.0));
        Tensor leaf = X().requires_grad_();
        // Through a graph on both sides: d/dx 3 (2x)^2 * 2 = 48 x.
        (ScaledSquare.apply(leaf * 2, 3.0) * 2).sum().backward();
        Values(leaf.grad!, [3], [24, -48, 96]);
    }

    [Fact]
    public void Function_WithoutGradients_RunsForwardOnly()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable unrecorded = no_grad();
        Assert.False(ScaledSquare.apply(ones(1, requires_grad: true), 1.0).requires_grad);
    }

    [Fact]
    public void Function_SavedTensorsOfAnInnerScope_LiveOn()
    {
        using DisposeScope scope = NewDisposeScope();
        Forms(() => tensor(new[] { 0.5, 1.5 }), [2], [Math.Exp(0.5), Math.Exp(1.5)], x => ScopedExp.apply(x));
    }

    [Fact]
    public void Function_BackwardTwice_NeedsARetainedGraph()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = ones(1, ScalarType.Float64, requires_grad: true), y = ScaledSquare.apply(x, 1.0).sum();
        y.backward(retain_graph: true);
        y.backward();
        Values(x.grad!, [1], [4]);
        Assert.Throws<ExternalException>(() => y.backward());
    }

    [Fact]
    public void Function_SavedTensorChangedInPlace_IsAnError()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = ones(1, requires_grad: true), copy = x * 1, y = ScaledSquare.apply(copy, 1.0).sum();
        copy.add_(1);
        Assert.Contains("modified by an inplace operation", Assert.Throws<ExternalException>(() => y.backward()).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Function_OfSeveralOutputs_GetsAGradientForEach()
    {
        using DisposeScope scope = NewDisposeScope();
        Forms(() => tensor(new[] { 0.5, 2 }), [2], [0.5 * 0.25, 2 * 4], x => SquareAndSelf.apply(x) is [var square,
            var self] ? square * self : throw new InvalidOperationException());
        Tensor x = tensor(new[] { 0.5, 2 }, requires_grad: true);
        SquareAndSelf.apply(x)[1].sum().backward();
        Values(x.grad!, [2], [1, 1]);
    }

    [Fact]
    public void Function_OptionsOfItsContext_AreKept()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = tensor(new[] { 3.0, 1 }, requires_grad: true);
        List<Tensor> outputs = SplitSign.apply(x);
        Assert.True(outputs[0].requires_grad && !outputs[1].requires_grad);
        outputs[0].sum().backward();
        Values(x.grad!, [2], [1, 1]);
        Tensor y = tensor(new[] { 1.0 }, requires_grad: true), doubled = DoubleInPlace.apply(y * 1);
        doubled.sum().backward();
        Values(doubled, [1], [2]);
        Values(y.grad!, [1], [2]);
    }

    [Fact]
    public void Function_BackwardThatThrows_GivesItsMessage()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor y = Failing.apply(ones(1, requires_grad: true)).sum();
        Assert.Contains("no backward today", Assert.ThrowsAny<Exception>(() => y.backward()).Message, StringComparison.Ordinal);
        Assert.True(ScaledSquare.apply(ones(1), 2.0).item<float>() == 2);
    }

    private sealed class ScaledSquare : autograd.SingleTensorFunction<ScaledSquare>
    {
        public override string Name => nameof(ScaledSquare);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var x = (Tensor)vars[0];
            ctx.save_for_backward([x]);
            ctx.save_data("scale", vars[1]);
            return x * x * (double)vars[1];
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output) =>
            [grad_output * ctx.get_saved_variables()[0] * (2 * (double)ctx.get_data("scale")), null!];
    }

    private sealed class ScopedExp : autograd.SingleTensorFunction<ScopedExp>
    {
        public override string Name => nameof(ScopedExp);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            Tensor result = ((Tensor)vars[0]).exp();
            ctx.save_for_backward([result]);
            return result;
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            using DisposeScope scope = NewDisposeScope();
            return [(grad_output * ctx.get_saved_variables()[0]).MoveToOuterDisposeScope()];
        }
    }

    private sealed class SquareAndSelf : autograd.MultiTensorFunction<SquareAndSelf>
    {
        public override string Name => nameof(SquareAndSelf);

        public override List<Tensor> forward(autograd.AutogradContext ctx, params object[] vars)
        {
            ctx.save_for_backward([(Tensor)vars[0]]);
            return [((Tensor)vars[0]).square(), ((Tensor)vars[0]).clone()];
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, List<Tensor> grad_outputs) =>
            [(grad_outputs[0] * ctx.get_saved_variables()[0] * 2) + grad_outputs[1]];
    }

    private sealed class SplitSign : autograd.MultiTensorFunction<SplitSign>
    {
        public override string Name => nameof(SplitSign);

        public override List<Tensor> forward(autograd.AutogradContext ctx, params object[] vars)
        {
            Tensor value = ((Tensor)vars[0]).clone(), sign = ((Tensor)vars[0]).sign();
            ctx.mark_non_differentiable([sign]);
            ctx.set_materialize_grads(false);
            return [value, sign];
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, List<Tensor> grad_outputs)
        {
            Assert.False(ctx.MaterializeGrads);
            Assert.True(grad_outputs[1].IsInvalid);
            return [grad_outputs[0].clone()];
        }
    }

    private sealed class DoubleInPlace : autograd.SingleTensorFunction<DoubleInPlace>
    {
        public override string Name => nameof(DoubleInPlace);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            var x = (Tensor)vars[0];
            ctx.mark_dirty([x]);
            return x.mul_(2);
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output) => [grad_output * 2];
    }

    private sealed class Failing : autograd.SingleTensorFunction<Failing>
    {
        public override string Name => nameof(Failing);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars) => ((Tensor)vars[0]).clone();

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output) =>
            throw new InvalidOperationException("no backward today");
    }
}
