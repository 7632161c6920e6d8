// ReportData -> report.html: one file without scripts and without network.
using System.Globalization;
using System.Net;
using System.Text;
using Sapo.Core.Options;
using Sapo.Hybrid.Runs;

namespace Sapo.Hybrid.Reports;

/// <summary>Writes the page.</summary>
internal static class ReportPage
{
    private const int ExamplesShown = 8;

    public static string Html(ReportData data)
    {
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{Text(data.Options.Name)} - Sapo run</title>\n<style>\n{Style()}</style></head>\n<body><main>\n");
        page.Append(CultureInfo.InvariantCulture, $"<h1>{Text(data.Options.Name)}</h1>\n<p class=\"sub\">{Text(Summary(data))}</p>\n");
        Facts(page, data);
        page.Append("<h2>Training</h2>\n<div class=\"grid2\">\n");
        foreach (var chart in ReportCharts.Of(data)) page.Append(chart.ToHtml());
        page.Append("</div>\n");
        Evaluations(page, data);
        Examples(page, "Answers to held-out problems before reinforcement learning", data.RolloutsBefore);
        Examples(page, "Answers to the same problems afterwards", data.RolloutsAfter);
        page.Append(CultureInfo.InvariantCulture, $"<h2>How it was made</h2>\n<div class=\"card\">{Machine(data)}</div>\n");
        page.Append(CultureInfo.InvariantCulture, $"<details><summary>Run options, every default spelled out</summary><pre>{Text(RunOptionsReader.Resolved(data.Options))}</pre></details>\n");
        return page.Append("</main></body></html>\n").ToString();
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private static string Percent(double share) => (100 * share).ToString("0.0", CultureInfo.InvariantCulture) + "%";

    private static string Style()
    {
        using var stream = typeof(ReportPage).Assembly.GetManifestResourceStream("report.css")!;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static string Summary(ReportData data) =>
        $"{data.Options.Objective.Name} on the task {(data.Options.Task is AdditionTaskOptions ? "addition" : "jsonl")}, {data.ParameterCount:N0} parameters, " +
        $"{data.Options.Steps} steps of {data.Options.Rollout.PromptsPerStep} prompts x {data.Options.Rollout.GroupSize} completions, seed {data.Options.Seed}";

    private static void Facts(StringBuilder page, ReportData data)
    {
        page.Append("<div class=\"facts\">");
        if (data.Before is { } before) Fact($"{Percent(before.PassAt1.Value)}", $"pass@1 before (95%: {Percent(before.PassAt1.Low)} to {Percent(before.PassAt1.High)})");
        if (data.After is { } after) Fact($"{Percent(after.PassAt1.Value)}", $"pass@1 after (95%: {Percent(after.PassAt1.Low)} to {Percent(after.PassAt1.High)})");
        if (data.Steps is [.., var last])
        {
            var engine = Median(data.Steps.Select(step => step.Time.EngineTokensPerSecond));
            var learner = Median(data.Steps.Select(step => step.Time.LearnerTokensPerSecond));
            Fact(TimeSpan.FromSeconds(last.Time.ElapsedSeconds).ToString(@"h\:mm\:ss", CultureInfo.InvariantCulture), "run time, cold start and evaluation before included");
            Fact($"{engine:N0}", "tokens/s sampled (median step)");
            Fact($"{learner:N0}", "tokens/s learned (median step)");
            Fact($"{data.Steps.Max(step => step.Time.ResidentBytes) / (double)(1 << 20):N0} MiB", "resident memory, highest of any step");
            Fact($"{data.Steps.Max(step => step.Learner.Mismatch?.MaxNats ?? 0):0.0e0}", "largest log-prob difference of engine and learner, nats");
        }
        page.Append("</div>\n");
        void Fact(string value, string name) => page.Append(CultureInfo.InvariantCulture, $"<div class=\"fact\"><b>{Text(value)}</b><span>{Text(name)}</span></div>");
    }

    private static double Median(IEnumerable<double> values) => values.Order().ToArray() is { Length: > 0 } sorted ? sorted[sorted.Length / 2] : 0;

    private static void Evaluations(StringBuilder page, ReportData data)
    {
        if (data.Before is not { } before || data.After is not { } after) return;
        page.Append(CultureInfo.InvariantCulture, $"<h2>Held-out problems</h2>\n<div class=\"card\"><table><tr><th>{before.Problems} problems, {before.Samples} completion(s) each, temperature {before.Temperature}</th><th class=\"number\">before</th><th class=\"number\">after</th></tr>");
        Row("pass@1", result => $"{Percent(result.PassAt1.Value)} ({Percent(result.PassAt1.Low)} to {Percent(result.PassAt1.High)})");
        if (before.Samples > 1) Row($"pass@{before.Samples}", result => Percent(result.PassAtK));
        Row("mean reward", result => result.MeanReward.ToString("0.000", CultureInfo.InvariantCulture));
        Row("mean length, tokens", result => result.MeanTokens.ToString("0.0", CultureInfo.InvariantCulture));
        Row("ended by themselves", result => Percent(result.EndedShare));
        foreach (var style in before.Styles.Keys.Union(after.Styles.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal))
            Row($"way of solving: {style}", result => Percent(result.Styles.GetValueOrDefault(style)));
        page.Append("</table></div>\n");
        void Row(string name, Func<EvaluationResult, string> value) =>
            page.Append(CultureInfo.InvariantCulture, $"<tr><td>{Text(name)}</td><td class=\"number\">{Text(value(before))}</td><td class=\"number\">{Text(value(after))}</td></tr>");
    }

    private static void Examples(StringBuilder page, string title, IReadOnlyList<RolloutRecord> rollouts)
    {
        if (rollouts.Count == 0) return;
        page.Append(CultureInfo.InvariantCulture, $"<h2>{Text(title)}</h2>\n<div class=\"card\"><table><tr><th>prompt</th><th>completion</th><th>answer</th><th>ended by</th><th class=\"number\">reward</th></tr>");
        foreach (var rollout in rollouts.Take(ExamplesShown))
        {
            var reward = rollout.Reward?.ToString("0.##", CultureInfo.InvariantCulture) ?? "none";
            page.Append(CultureInfo.InvariantCulture, $"<tr><td><code>{Text(rollout.Prompt ?? "")}</code></td><td><code>{Text(rollout.Text)}</code></td><td><code>{Text(rollout.Answer ?? "")}</code></td><td>{Text(rollout.FinishReason)}</td><td class=\"number {(rollout.Reward >= 1 ? "right" : "wrong")}\">{reward}</td></tr>");
        }
        page.Append("</table></div>\n");
    }

    private static string Machine(ReportData data)
    {
        var machine = data.Machine;
        (string Name, string Value)[] rows =
        [
            ("processor", $"{machine.Processor}, {machine.Cores} cores, {machine.VectorInstructions}"),
            ("GPU", machine.Gpus.Count == 0 ? "none" : string.Join(", ", machine.Gpus.Select(gpu => gpu.Name))),
            ("system", $"{machine.OperatingSystem}, {machine.DotnetRuntime}"),
            ("tokens", $"{(data.ColdStart is [.., var last] ? last.Tokens : 0):N0} in the cold start, {data.Steps.Sum(step => step.Completions.Count * step.Completions.MeanTokens):N0} sampled, {data.Steps.Sum(step => step.Learner.ComputedTokens):N0} computed by the learner"),
        ];
        return "<table>" + string.Concat(rows.Select(row => $"<tr><td>{Text(row.Name)}</td><td>{Text(row.Value)}</td></tr>")) + "</table>";
    }
}
