using Sapo.Core.Models;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Scheduling;

namespace Sapo.Rollout.Tests.Scheduling;

public sealed class ContinuousBatchTests(TinyModel model) : IClassFixture<TinyModel>
{
    [Fact]
    public void Step_SteadyState_AllocatesNothingPerToken()
    {
        const int Slots = 4, PromptRows = 2, Steps = 50;
        using var rows = new RowBuffers(Lane.RowsFor(Slots) + PromptRows, model.Config.VocabSize);
        using var loader = new OrtPolicyLoader(model.Config, rows, positions: 90, threads: 1, Precision.Fp32, direct: true);
        var settings = new SchedulerSettings(Slots, PromptRows, PrefillChunk: 64, SwitchInFlight: false, RecomputeInFlight: false, TextDecoder: null);
        using var batch = new ContinuousBatch(loader.Load(model.Policy, prepack: true).Activate(), rows, settings, TimeProvider.System, trace: null);
        Run(batch, Steps + 20); // buffers grow to their size once
        Assert.Equal(0, Run(batch, Steps + 20));

        long Run(ContinuousBatch on, int tokens)
        {
            var request = new GenerationRequest(new Prompt { Id = 1, TokenIds = [4, 5, 6] }, Slots, new SamplingOptions());
            using var group = new GroupTask(request, stopTokenIds: [], tokens, () => { }, default);
            GroupTask? waiting = group;
            on.Admit(() => Interlocked.Exchange(ref waiting, null));
            for (var i = 0; i < 10; i++) Turn();
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < Steps; i++) Turn();
            var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            while (on.Step()) on.Deliver();
            Assert.True(group.IsOver);
            return allocated;

            void Turn()
            {
                on.FreeAbandoned();
                on.Admit(static () => null);
                Assert.True(on.Step());
                on.Deliver();
            }
        }
    }
}
