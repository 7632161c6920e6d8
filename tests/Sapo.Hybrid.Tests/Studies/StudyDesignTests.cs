using Sapo.Core;
using Sapo.Hybrid.Studies;
using Sapo.Testing;

namespace Sapo.Hybrid.Tests.Studies;

public sealed class StudyDesignTests
{
    [Fact]
    public void Cells_Design_AreEveryCombinationSeedBySeed()
    {
        var cells = StudyFiles.Parsed().Cells("study.json");
        Assert.Equal(
            ["seed1_0_SAPO", "seed1_0_GRPO", "seed1_1_SAPO", "seed1_1_GRPO", "seed2_0_SAPO", "seed2_0_GRPO", "seed2_1_SAPO", "seed2_1_GRPO"],
            cells.Select(cell => cell.Id));
        Assert.Equal(cells.Count, cells.Select(cell => cell.Fingerprint).Distinct(StringComparer.Ordinal).Count());
        Assert.Equal(2, cells.Select(cell => cell.ColdStartKey).Distinct(StringComparer.Ordinal).Count()); // one per seed: the model is the same
    }

    [Fact]
    public void Cells_Overrides_AreMergedMemberByMember()
    {
        var cell = StudyFiles.Parsed().Cells("study.json").Single(cell => cell.Id == "seed2_1_GRPO");
        Assert.Equal((2, "grpo", 1, 1), (cell.Options.Seed, cell.Options.Objective.Name, cell.Options.MaxStaleness, cell.Options.Learner.MiniBatches));
        Assert.Equal(1e-3, cell.Options.Learner.LearningRate); // beside the override, from run
    }

    [Fact]
    public void Cells_Levels_LastSettingChangesFastest()
    {
        var text = StudyFiles.Design.Replace("\"settings\": {", "\"settings\": { \"rate\": { \"low\": {}, \"high\": { \"learner\": { \"learningRate\": 1 } } }, ", StringComparison.Ordinal);
        Assert.Equal(["low 0", "low 1", "high 0", "high 1"], StudyFiles.Parsed(text).Combinations().Select(levels => string.Join(' ', levels.Select(level => level.Name))));
    }

    [Theory]
    [InlineData("\"seeds\": [1, 2]", "\"sedes\": [1, 2]", "unknown member sedes", "seeds")]
    [InlineData("\"seeds\": [1, 2]", "\"seeds\": []", "seeds is []", "at least one")]
    [InlineData("\"seeds\": [1, 2]", "\"seeds\": 3", "seeds is 3", "a list")]
    [InlineData("\"seeds\": [1, 2]", "\"seeds\": [1, 1]", "seeds holds 1 twice", "Remove one")]
    [InlineData("\"seeds\": [1, 2]", "\"seeds\": [1.5]", "seeds holds 1.5", "whole numbers")]
    [InlineData("\"name\": \"tiny\"", "\"name\": 3", "name is missing or no text", "")]
    [InlineData("\"name\": \"tiny\",", "", "name is missing or no text", "")]
    [InlineData("\"steps\": 3,", "\"steps\": 3, \"seed\": 4,", "run.seed is given", "seeds")]
    [InlineData("\"SAPO\": {", "\"S_1\": {", "the entry \"S_1\"", "letters, digits, dots and hyphens")]
    [InlineData("{ \"maxStaleness\": 0 }", "0", "settings.staleness.0 is 0", "an object")]
    [InlineData("\"tiny\"", "\"tiny\", \"name\": \"x\"", "it is no study", "")]
    [InlineData("{ \"staleness\": {", "{ \"empty\": {}, \"staleness\": {", "settings.empty is empty", "Add one")]
    [InlineData("\"compare\": {", "\"compare\": 5, \"x\": {", "unknown member x", "")]
    public void Parse_WrongFile_NamesWhatAndRemedy(string from, string to, string found, string remedy)
    {
        Assert.Contains(from, StudyFiles.Design, StringComparison.Ordinal);
        var error = Assert.Throws<UserErrorException>(() => StudyFiles.Parsed(StudyFiles.Design.Replace(from, to, StringComparison.Ordinal)));
        Assert.StartsWith("study.json: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(found, error.Message, StringComparison.Ordinal);
        Assert.Contains(remedy, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Cells_MisspeltMemberOfARun_NamesCellAndMember()
    {
        var text = StudyFiles.Design.Replace("\"maxStaleness\": 0", "\"maxStalenes\": 0", StringComparison.Ordinal);
        var error = Assert.Throws<UserErrorException>(() => StudyFiles.Parsed(text).Cells("study.json"));
        Assert.Contains("cell seed1_0_SAPO: unknown member maxStalenes. The nearest known member is maxStaleness", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_NoFile_SaysSo() =>
        Assert.Contains("does not exist", Assert.Throws<UserErrorException>(() => StudyDesignReader.Read("/no/such/study.json")).Message, StringComparison.Ordinal);

    [Fact]
    public void CommittedStudy_Design_IsTheFullCross()
    {
        var path = Path.Combine(Golden.RepositoryRoot(), "runs", "study", "study.json");
        var design = StudyDesignReader.Read(path);
        var cells = design.Cells(path);
        Assert.True(design.Seeds.Count >= 5);
        Assert.Superset(new HashSet<string>(["sapo", "grpo", "gspo", "vespo"], StringComparer.Ordinal), cells.Select(cell => cell.Options.Objective.Name).ToHashSet(StringComparer.Ordinal));
        Assert.Equal([1, 4, 8, 16], cells.Select(cell => cell.Options.MaxStaleness).Distinct().Order());
        Assert.Equal([4, 16], cells.Select(cell => cell.Options.Learner.MiniBatches).Distinct().Order());
        Assert.Equal(["qwen3", "qwen3_moe"], cells.Select(cell => cell.Options.Model.Create!.ModelType).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal));
        Assert.All(cells, cell => Assert.True(cell.Options.ExactStaleness));
    }

    [Fact]
    public void CommittedStudy_Results_AreOfTheCommittedDesign()
    {
        var folder = new StudyFolder(Path.Combine(Golden.RepositoryRoot(), "runs", "study"));
        var finished = folder.Finished(StudyDesignReader.Read(folder.DesignFile).Cells(folder.DesignFile));
        Assert.Equal(File.ReadAllLines(folder.CellsFile).Length, finished.Count);
        Assert.Contains($"\"finished\":{finished.Count},", File.ReadAllText(folder.ResultsFile), StringComparison.Ordinal);
        Assert.All(finished.Values, cell => Assert.InRange(cell.MeanStaleness, 0.75 * cell.MaxStaleness, cell.MaxStaleness)); // really that stale
    }
}
