using static TorchSharp.torch;

namespace TorchSharp.Tests;

/// <summary>1,000 training steps hold no more tensors and no more memory than 100 do.</summary>
public sealed class LeakTests
{
    private const int WarmUp = 100;
    private const int Steps = 1_000;

    /// <summary>One leaked activation per step would be 1,000 x 64 kB = 64 MiB; the allocator's own swings stay below this.</summary>
    private const long MemorySwing = 24L << 20;

    [Fact]
    public void TrainingSteps_InDisposeScopes_LeakNothing()
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                Train();
            }
            catch (Exception caught)
            {
                failure = caught;
            }
        });
        thread.Start();
        thread.Join();
        if (failure is not null) throw new Xunit.Sdk.XunitException(failure.ToString());
    }

    private static void Train()
    {
        using DisposeScope scope = NewDisposeScope();
        using Modules.Sequential net = nn.Sequential(nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 8));
        using Modules.AdamW optimizer = optim.AdamW(net.parameters());
        Tensor input = randn(128, 128), target = randint(8, [128L]);
        for (int i = 0; i < WarmUp; i++) Step(net, optimizer, input, target);
        long alive = DisposeScopeManager.Statistics.ThreadTotalLiveCount, held = scope.DisposablesCount, memory = ResidentBytes();
        for (int i = 0; i < Steps; i++) Step(net, optimizer, input, target);
        Assert.Equal(alive, DisposeScopeManager.Statistics.ThreadTotalLiveCount);
        Assert.Equal(held, scope.DisposablesCount);
        Assert.InRange(ResidentBytes(), 0, memory + MemorySwing);
    }

    private static void Step(nn.Module<Tensor, Tensor> net, optim.Optimizer optimizer, Tensor input, Tensor target)
    {
        using DisposeScope scope = NewDisposeScope();
        optimizer.zero_grad();
        nn.functional.cross_entropy(Doubled.apply(net.call(input)), target).backward();
        nn.utils.clip_grad_norm_(net.parameters(), 1);
        optimizer.step();
    }

    private static long ResidentBytes() => Environment.WorkingSet;

    /// <summary>A managed backward in every step: its context and saved tensors must go, too.</summary>
    private sealed class Doubled : autograd.SingleTensorFunction<Doubled>
    {
        public override string Name => nameof(Doubled);

        public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
        {
            ctx.save_for_backward([(Tensor)vars[0]]);
            return (Tensor)vars[0] * 2;
        }

        public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
        {
            Assert.Equal(grad_output.shape, ctx.get_saved_variables()[0].shape);
            return [grad_output * 2];
        }
    }
}
