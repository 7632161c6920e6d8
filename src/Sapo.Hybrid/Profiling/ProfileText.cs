namespace Sapo.Hybrid.Profiling;

/// <summary>Profiles as text: what commands print and what the Markdown files hold.</summary>
public static class ProfileText
{
    private const double Gibi = 1 << 30, Mebi = 1 << 20;
    private const double LeastShare = 0.0005; // a part below it has no rate worth a column

    /// <summary>A rollout engine's profile.</summary>
    public static string Of(RolloutProfile profile)
    {
        var speed = new ProfileTable("engine", "slots", "prompt", "new", "tokens/s", "decode tok/s", "prefill tok/s", "ms/step", "slots used", "KV MiB", "of bandwidth", "of GEMM", "prefill of GEMM");
        var split = new ProfileTable("engine", "slots", "prompt", "new", "decode", "prefill", "copies", "host", "prompt tokens computed", "requested");
        foreach (var point in profile.Points)
        {
            var engine = $"{point.Workload.Session} {point.Workload.Precision}";
            var (slots, prompt, fresh) = (Count(point.Workload.Slots), Count(point.Workload.PromptTokens), Count(point.Workload.NewTokens));
            var busy = point.BusySeconds;
            speed.Add(
                engine, slots, prompt, fresh, Number(point.TokensPerSecond), Number(point.DecodeTokensPerSecond), point.PrefillTokensPerSecond > 0 ? Number(point.PrefillTokensPerSecond) : "-", Number(point.MillisecondsPerStep), Percent(point.SlotUtilisation),
                Number(point.KeyValueBytes / Mebi), Percent(point.DecodeShareOfBandwidth), Percent(point.DecodeShareOfMatrixRate), point.PrefillTokensPerSecond > 0 ? Percent(point.PrefillShareOfMatrixRate) : "-");
            split.Add(
                engine, slots, prompt, fresh, Percent(point.DecodeSeconds / busy), Percent(point.PrefillSeconds / busy), Percent(point.CopySeconds / busy), Percent(point.HostShare), Count(point.PromptTokensComputed), Count(point.PromptTokensRequested));
        }
        return $"{Head(profile.Context, profile.Limits, profile.Model)}\n{speed}\n{split}\n{Of(profile.Swaps)}";
    }

    /// <summary>Version switches.</summary>
    public static string Of(IReadOnlyList<SwapTimes> swaps)
    {
        var table = new ProfileTable("switch of versions, ms", "load", "probe", "switch", "stood still", "first token", "full speed", "largest difference");
        foreach (var swap in swaps)
        {
            table.Add(
                $"engine.prepack {swap.Prepack}", Number(swap.BuildMilliseconds), Number(swap.ProbeMilliseconds), Number(swap.SwitchMilliseconds), Number(swap.PauseMilliseconds),
                Number(swap.FirstTokenMilliseconds), Number(swap.FullSpeedMilliseconds), $"{swap.ProbeDifference:0.0e+0}");
        }
        return table.ToString();
    }

    /// <summary>A learner's profile.</summary>
    public static string Of(LearnerProfile profile)
    {
        LearnerPoint[] points = [profile.Shared, profile.Repeated];
        var speed = new ProfileTable("prompts", "completion tok/s", "computed tok/s", "computed tokens", "s/step", "GFLOP", "saved by sharing", "of GEMM", "peak MiB", "predicted MiB", "activations MiB");
        foreach (var point in points)
            speed.Add(
                point.Prompts, Number(point.TokensPerSecond), Number(point.ComputedTokensPerSecond), Count(point.ComputedTokens), Number(point.Seconds), Number(point.Flops / 1e9),
                Number(point.FlopsSaved / 1e9), Percent(point.ShareOfMatrixRate), Size(point.Memory.PeakBytes), Size(point.Memory.Predicted.TotalBytes), Size(point.Memory.ActivationBytes));
        var names = profile.Shared.Phases.Select(phase => phase.Name).ToArray();
        var split = new ProfileTable(["share of the step", .. names]);
        string[] slow = [.. names.Where(name => points.Any(point => point.Phases.Any(phase => phase.Name == name && phase.Share >= LeastShare)))];
        var rates = new ProfileTable(["computed tokens/s", .. slow]);
        foreach (var point in points)
        {
            split.Add([point.Prompts, .. point.Phases.Select(phase => Percent(phase.Share))]);
            rates.Add([point.Prompts, .. point.Phases.Where(phase => slow.Contains(phase.Name)).Select(phase => Number(phase.TokensPerSecond))]);
        }
        var workload = profile.Workload;
        return $"{Head(profile.Context, profile.Limits, profile.Model)}{workload.Groups} x {workload.GroupSize} completions of {workload.NewTokens} tokens, prompt {workload.PromptTokens}; {workload.Dtype}{(workload.ActivationCheckpointing ? ", activations computed again" : "")}; the fastest of {workload.Steps} steps.\n\n{speed}\n{split}\n{rates}\n"
            + $"Sharing prompts: {profile.SharingGain:0.00}x the step with repeated prompts; it computes {(double)profile.Repeated.Flops / profile.Shared.Flops:0.00}x fewer operations.\n"
            + $"Memory predicted with shared prompts: {profile.Shared.Memory.Predicted}.\n";
    }

    /// <summary>Machine, limits and model.</summary>
    public static string Head(ProfileContext context, MachineLimits limits, ProfiledModelInfo model) =>
        $"{context}\nLimits: read {limits.ReadBytesPerSecond / 1e9:0.0} GB/s, copy {limits.CopyBytesPerSecond / 1e9:0.0} GB/s on {limits.Threads} threads; GEMM {limits.MatrixFlopsPerSecond / 1e9:0} GFLOP/s on {limits.MatrixThreads}.\n"
        + $"Model: {model.Name} ({model.ModelType}), {model.Parameters / 1e6:N1}M parameters, {model.Parameters * sizeof(float) / Gibi:0.000} GiB in {model.Weights}.\n";

    /// <summary>Three significant digits or a whole number.</summary>
    public static string Number(double value) => Math.Abs(value) switch
    {
        >= 100 => value.ToString("N0"),
        >= 10 => value.ToString("0.0"),
        >= 1 => value.ToString("0.00"),
        _ => value.ToString("0.000"),
    };

    private static string Count(long value) => value.ToString("N0");

    private static string Percent(double share) => share.ToString("0.0%");

    private static string Size(long? bytes) => bytes is { } known ? Number(known / Mebi) : "unknown";
}
