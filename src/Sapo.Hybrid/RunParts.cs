using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Preferences;
using Sapo.Hybrid.Rollouts;
using Sapo.Hybrid.Tasks;
using Sapo.Learner;
using Sapo.Rollout;
using Sapo.Sync;

namespace Sapo.Hybrid;

/// <summary>What a run is made of once everything is loaded. Owned by the session, used by the loop and its books.</summary>
/// <param name="Options">The run file.</param>
/// <param name="Task">What is asked.</param>
/// <param name="Judge">Scores completions.</param>
/// <param name="Device">The thread that all of the learner's work runs on.</param>
/// <param name="Learner">Trains the policy.</param>
/// <param name="Publisher">Writes its versions.</param>
/// <param name="Engine">Serves them.</param>
/// <param name="Stages">Measures the stages of a step and notices one that stands still.</param>
/// <param name="Curriculum">Chooses the prompts, if the run has one.</param>
/// <param name="Preferences">The preference stage, if the run has one.</param>
/// <param name="Probes">Sequences that every version is checked with before it is served.</param>
internal sealed record RunParts(
    RunOptions Options, ITrainingTask Task, RewardJudge Judge, DeviceThread Device, PolicyLearner Learner, PolicyPublisher Publisher,
    RolloutEngine Engine, StallWatch Stages, Curriculum? Curriculum, PreferenceStage? Preferences, IReadOnlyList<int[]> Probes)
{
    /// <summary>Publishes the learner's present weights.</summary>
    public async Task<PublishedPolicy> PublishAsync(CancellationToken cancel) =>
        await PublishAsync(Device, Learner, Publisher, Probes, cancel).ConfigureAwait(false);

    /// <summary>The same before there is an engine: it starts with what this publishes.</summary>
    public static async Task<PublishedPolicy> PublishAsync(
        DeviceThread device, PolicyLearner learner, PolicyPublisher publisher, IReadOnlyList<int[]> probes, CancellationToken cancel)
    {
        var snapshot = await device.RunAsync(() => learner.Snapshot(probes)).ConfigureAwait(false);
        return await publisher.PublishAsync(snapshot, cancel).ConfigureAwait(false);
    }
}
