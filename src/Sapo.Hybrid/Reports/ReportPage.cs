// ReportData -> report.html: one file without scripts and without network.
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
        page.Append($"""
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{Text(data.Options.Name)} - Sapo run</title>
            <style>
            {ReportStyle.Read()}</style></head>
            <body><main>
            <h1>{Text(data.Options.Name)}</h1>
            <p class="sub">{Text(Summary(data))}</p>

            """);
        Facts(page, data);
        page.Append("<h2>Training</h2>\n<div class=\"grid2\">\n");
        foreach (var chart in ReportCharts.Of(data)) page.Append(chart.ToHtml());
        page.Append("</div>\n");
        Evaluations(page, data);
        Examples(page, "Answers to held-out problems before reinforcement learning", data.RolloutsBefore);
        Examples(page, "Answers to the same problems afterwards", data.RolloutsAfter);
        page.Append($"""
            <h2>How it was made</h2>
            <div class="card">{Machine(data)}</div>
            <details><summary>Run options, every default spelled out</summary>
            <pre>{Text(RunOptionsReader.Resolved(data.Options))}</pre></details>
            </main></body></html>

            """);
        return page.ToString();
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private static string Percent(double share) => $"{100 * share:0.0}%";

    private static string Percent(ShareWithInterval share) => $"{Percent(share.Value)} ({Percent(share.Low)} to {Percent(share.High)})";

    private static string Summary(ReportData data)
    {
        var (options, task) = (data.Options, data.Options.Task is AdditionTaskOptions ? "addition" : "jsonl");
        return $"{options.Objective.Name} on the task {task}, {data.ParameterCount:N0} parameters, {options.Steps} steps of "
            + $"{options.Rollout.PromptsPerStep} prompts x {options.Rollout.GroupSize} completions, seed {options.Seed}";
    }

    private static void Facts(StringBuilder page, ReportData data)
    {
        page.Append("<div class=\"facts\">");
        if (data.Before is { } before) Fact(Percent(before.PassAt1.Value), $"pass@1 before (95%: {Interval(before)})");
        if (data.After is { } after) Fact(Percent(after.PassAt1.Value), $"pass@1 after (95%: {Interval(after)})");
        if (data.Steps is [.., var last])
        {
            Fact(TimeSpan.FromSeconds(last.Time.ElapsedSeconds).ToString(@"h\:mm\:ss"), "run time, cold start included");
            Fact($"{Median(data.Steps.Select(step => step.Time.EngineTokensPerSecond)):N0}", "tokens/s sampled (median step)");
            Fact($"{Median(data.Steps.Select(step => step.Time.LearnerTokensPerSecond)):N0}", "tokens/s learned (median step)");
            Fact($"{data.Steps.Max(step => step.Time.ResidentBytes) / (double)(1 << 20):N0} MiB", "resident memory, highest of any step");
            Fact(
                $"{data.Steps.Max(step => step.Learner.Mismatch?.MaxNats ?? 0):0.0e0}",
                "largest log-prob difference of engine and learner, nats");
        }
        page.Append("</div>\n");

        void Fact(string value, string name) => page.Append($"<div class=\"fact\"><b>{Text(value)}</b><span>{Text(name)}</span></div>");
        static string Interval(EvaluationResult result) => $"{Percent(result.PassAt1.Low)} to {Percent(result.PassAt1.High)}";
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private static void Evaluations(StringBuilder page, ReportData data)
    {
        if (data.Before is not { } before || data.After is not { } after) return;
        page.Append($"""
            <h2>Held-out problems</h2>
            <div class="card"><table>
            <tr><th>{before.Problems} problems, {before.Samples} completion(s) each, temperature {before.Temperature}</th>
            <th class="number">before</th><th class="number">after</th></tr>

            """);
        Row("pass@1 (95% interval)", result => Percent(result.PassAt1));
        if (before.Samples > 1) Row($"pass@{before.Samples}", result => Percent(result.PassAtK));
        Row("mean reward", result => $"{result.MeanReward:0.000}");
        Row("mean length, tokens", result => $"{result.MeanTokens:0.0}");
        Row("ended by themselves", result => Percent(result.EndedShare));
        foreach (var style in before.Styles.Keys.Union(after.Styles.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal))
            Row($"way of solving: {style}", result => Percent(result.Styles.GetValueOrDefault(style)));
        page.Append("</table></div>\n");

        void Row(string name, Func<EvaluationResult, string> value) => page.Append($"""
            <tr><td>{Text(name)}</td><td class="number">{Text(value(before))}</td><td class="number">{Text(value(after))}</td></tr>

            """);
    }

    private static void Examples(StringBuilder page, string title, IReadOnlyList<RolloutRecord> rollouts)
    {
        if (rollouts.Count == 0) return;
        page.Append($"""
            <h2>{Text(title)}</h2>
            <div class="card"><table>
            <tr><th>prompt</th><th>completion</th><th>answer</th><th>ended by</th><th class="number">reward</th></tr>

            """);
        foreach (var rollout in rollouts.Take(ExamplesShown))
        {
            var verdict = rollout.Reward >= 1 ? "right" : "wrong";
            page.Append($"""
                <tr><td><code>{Text(rollout.Prompt ?? "")}</code></td><td><code>{Text(rollout.Text)}</code></td>
                <td><code>{Text(rollout.Answer ?? "")}</code></td><td>{Text(rollout.FinishReason)}</td>
                <td class="number {verdict}">{rollout.Reward?.ToString("0.##") ?? "none"}</td></tr>

                """);
        }
        page.Append("</table></div>\n");
    }

    private static string Machine(ReportData data)
    {
        var machine = data.Machine;
        var supervised = data.ColdStart is [.., var last] ? last.Tokens : 0;
        var sampled = data.Steps.Sum(step => step.Completions.Count * step.Completions.MeanTokens);
        var computed = data.Steps.Sum(step => step.Learner.ComputedTokens);
        (string Name, string Value)[] rows =
        [
            ("processor", $"{machine.Processor}, {machine.Cores} cores, {machine.VectorInstructions}"),
            ("GPU", machine.Gpus.Count == 0 ? "none" : string.Join(", ", machine.Gpus.Select(gpu => gpu.Name))),
            ("system", $"{machine.OperatingSystem}, {machine.DotnetRuntime}"),
            ("tokens", $"{supervised:N0} in the cold start, {sampled:N0} sampled, {computed:N0} computed by the learner"),
        ];
        return "<table>" + string.Concat(rows.Select(row => $"<tr><td>{Text(row.Name)}</td><td>{Text(row.Value)}</td></tr>")) + "</table>";
    }
}
