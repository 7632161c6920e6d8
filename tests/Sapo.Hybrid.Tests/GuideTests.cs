// docs/guide.md and the options are held together: every member is explained, and the guide's run file is one.
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Sapo.Core.Options;
using Sapo.Testing;

namespace Sapo.Hybrid.Tests;

public sealed partial class GuideTests
{
    private static readonly string Guide = File.ReadAllText(Path.Combine(Golden.RepositoryRoot(), "docs", "guide.md"));

    /// <summary>Knobs of single objectives are listed by the program itself, which the guide says.</summary>
    private static readonly Type[] ListedElsewhere = [typeof(ObjectiveOptions)];

    [Fact]
    public void Guide_EveryMemberOfARunFile_IsExplained()
    {
        var missing = Members(typeof(RunOptions)).Distinct(StringComparer.Ordinal)
            .Where(name => !Regex.IsMatch(Guide, $@"`(\w+\.)?{name}`", RegexOptions.None, TimeSpan.FromSeconds(1))).ToList();
        Assert.Empty(missing);
    }

    [Fact]
    public void Guide_RunFile_IsAccepted()
    {
        var files = JsonBlock().Matches(Guide).Select(match => match.Groups["block"].Value).ToList();
        Assert.NotEmpty(files);
        foreach (var file in files) RunOptionsReader.Parse(Encoding.UTF8.GetBytes(file), "docs/guide.md");
    }

    [Fact]
    public void Runs_EveryRunFile_IsAcceptedAndNamedAsItsFile()
    {
        var files = Directory.GetFiles(Path.Combine(Golden.RepositoryRoot(), "runs", "recipes"), "*.json");
        Assert.NotEmpty(files);
        Assert.All(files, file => Assert.Equal(Path.GetFileNameWithoutExtension(file), RunOptionsReader.Read(file).Name));
    }

    [Fact]
    public void Quickstart_RunFile_IsTheRecipe()
    {
        var options = RunOptionsReader.Read(Path.Combine(Golden.RepositoryRoot(), "runs", "quickstart.json"));
        Assert.Equal("quickstart", options.Name, StringComparer.Ordinal);
        Assert.Equal("sapo", options.Objective.Name, StringComparer.Ordinal);
        Assert.Equal((1.0, 1.05), (options.Objective.TauPositive!.Value, options.Objective.TauNegative!.Value));
        Assert.Equal((32, 8, 4, 60, 512), (options.Rollout.PromptsPerStep, options.Rollout.GroupSize, options.Learner.MiniBatches, options.Steps, options.Evaluation.Problems));
    }

    [GeneratedRegex("```json\n(?<block>.*?)```", RegexOptions.Singleline | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex JsonBlock();

    private static IEnumerable<string> Members(Type section)
    {
        foreach (var property in section.GetProperties(BindingFlags.Public | BindingFlags.Instance))
        {
            yield return JsonNamingPolicy.CamelCase.ConvertName(property.Name);
            var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            if (type.Namespace != typeof(RunOptions).Namespace || ListedElsewhere.Contains(type)) continue;
            foreach (var derived in (Type[])[type, .. type.Assembly.GetTypes().Where(other => other.BaseType == type)])
                foreach (var member in Members(derived)) yield return member;
        }
    }
}
