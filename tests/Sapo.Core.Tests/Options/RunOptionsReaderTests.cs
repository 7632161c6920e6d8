using System.Text;
using Sapo.Core.Options;

namespace Sapo.Core.Tests.Options;

public sealed class RunOptionsReaderTests
{
    private const string Smallest = """{ "name": "x", "model": { "create": {} }, "task": { "kind": "addition" }, "steps": 3 }""";

    [Fact]
    public void Parse_SmallestFile_TakesDocumentedDefaults()
    {
        var options = Parse(Smallest);
        Assert.Equal(3, options.Steps);
        Assert.Equal(1, options.Seed);
        Assert.Equal(32, options.Rollout.PromptsPerStep);
        Assert.Equal(0, options.MaxStaleness);
        Assert.Null(options.ColdStart);
        Assert.IsType<AdditionTaskOptions>(options.Task);
    }

    [Fact]
    public void Parse_CommentsTrailingCommasAndByteOrderMark_AreAllowed()
    {
        var text = "\uFEFF{ // why\n \"name\": \"x\", \"model\": { \"create\": {}, }, \"task\": { /* which */ \"kind\": \"addition\" }, \"steps\": 3, }";
        Assert.Equal("x", Parse(text).Name);
    }

    [Fact]
    public void Resolved_ReadBack_IsTheSameRun()
    {
        var options = Parse("""{ "name": "x", "seed": 7, "model": { "folder": "m" }, "task": { "train": "t.jsonl", "kind": "jsonl", "heldOut": "h.jsonl" }, "steps": 3, "learner": { "learningRate": 1e-4 } }""");
        var text = RunOptionsReader.Resolved(options);
        var again = Parse(text);
        Assert.Null(RunOptionsReader.FirstDifference(options, again));
        Assert.Equal(text, RunOptionsReader.Resolved(again));
        Assert.Contains("\"maxStaleness\": 0", text, StringComparison.Ordinal);
        Assert.Contains("\"tauNegative\": 1.05", text, StringComparison.Ordinal);
        Assert.DoesNotContain("clipLow", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"objective\": { \"offPolicyThreshold\": 0.1, \"offPolicyAgainst\": \"anchor\" }")]
    [InlineData("\"rollout\": { \"minPFirst\": true, \"minP\": 0.1, \"topP\": 0.9 }, \"engine\": { \"maxKeptIds\": 64 }")]
    [InlineData("\"maxStaleness\": 2, \"engine\": { \"swap\": \"inFlight\", \"inFlightKeyValues\": \"recompute\", \"prefillChunk\": 64, \"promptRows\": 8 }")]
    [InlineData("\"learner\": { \"schedule\": \"cosine\", \"finalLearningRateShare\": 0.1 }, \"evaluation\": { \"samples\": 4, \"temperature\": 0.5 }")]
    [InlineData("\"advantage\": { \"estimator\": \"gdpo\", \"rewardWeights\": [1, 2] }, \"rollout\": { \"overlong\": { \"cache\": 4 } }")]
    public void Resolved_OptionsThatNeedEachOther_AreTakenTogether(string members)
    {
        var options = Parse(Smallest.Replace("\"steps\": 3", "\"steps\": 3, " + members, StringComparison.Ordinal));
        Assert.Null(RunOptionsReader.FirstDifference(options, Parse(RunOptionsReader.Resolved(options))));
    }

    [Fact]
    public void Resolved_OffPolicyThresholdAlone_ComparesWithTheSampler()
    {
        var options = Parse(Smallest.Replace("\"steps\": 3", "\"steps\": 3, \"objective\": { \"offPolicyThreshold\": 0.1 }", StringComparison.Ordinal));
        Assert.Equal("sampler", options.Objective.OffPolicyAgainst);
        Assert.Null(Parse(Smallest).Objective.OffPolicyAgainst);
    }

    [Fact]
    public void FirstDifference_OneMemberDiffers_NamesItsPathAndBothValues()
    {
        var mine = Parse(Smallest);
        var difference = RunOptionsReader.FirstDifference(mine, mine with { Rollout = mine.Rollout with { GroupSize = 4 } });
        Assert.Equal("rollout.groupSize is 8, there 4", difference);
    }

    [Theory]
    [InlineData("""{ "stesp": 3 }""", "unknown member stesp", "steps")]
    [InlineData("""{ "rollout": { "groupsize": 4 } }""", "unknown member rollout.groupsize", "groupSize")]
    [InlineData("""{ "model": { "create": { "hiddenDim": 4 } } }""", "unknown member model.create.hiddenDim", "hiddenSize")]
    [InlineData("""{ "task": { "kind": "jsonl", "training": "x" } }""", "unknown member task.training", "train")]
    [InlineData("""{ "learner": { "lr": 4 } }""", "unknown member learner.lr", "")]
    [InlineData("""{ "objective": { "tau": 4 } }""", "unknown member objective.tau", "")]
    [InlineData("""{ "objective": { "kl": { "betta": 4 } } }""", "unknown member objective.kl.betta", "beta")]
    [InlineData("""{ "name": "x" }""", "model is missing", "")]
    [InlineData("""{ "name": "x", "model": { "create": {} }, "task": { "kind": "addition" } }""", "steps is missing", "")]
    [InlineData("""{ "task": { } }""", "task.kind is missing", "addition, jsonl")]
    [InlineData("""{ "task": { "kind": "additon" } }""", "task.kind is \"additon\"", "addition, jsonl")]
    [InlineData("""{ "task": { "kind": "jsonl" } }""", "task.train is missing", "")]
    [InlineData("""{ "name": "x", "name": "y" }""", "name", "")]
    [InlineData("[1]", "holds a list", "an object")]
    [InlineData("7", "holds a single value", "an object")]
    [InlineData("{ \"name\": ", "it is not a run file", "line 1")]
    [InlineData("null", "holds null", "")]
    public void Parse_WrongMembers_NamesFileAndPathAndRemedy(string text, string found, string remedy)
    {
        var error = Assert.Throws<UserErrorException>(() => Parse(text));
        Assert.StartsWith("runs/x.json", error.Message, StringComparison.Ordinal);
        Assert.Contains(found, error.Message, StringComparison.Ordinal);
        Assert.Contains(remedy, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"steps\": 0", "steps is 0")]
    [InlineData("\"steps\": \"three\"", "steps cannot be read")]
    [InlineData("\"steps\": 1.5", "steps cannot be read")]
    [InlineData("\"steps\": 3, \"rollout\": { \"groupSize\": 1 }", "rollout.groupSize is 1")]
    [InlineData("\"steps\": 3, \"rollout\": { \"groupSize\": \"8\" }", "rollout.groupSize cannot be read")]
    [InlineData("\"steps\": 3, \"rollout\": { \"temperature\": 0 }", "rollout.temperature is 0")]
    [InlineData("\"steps\": 3, \"rollout\": { \"topP\": 1.5 }", "rollout.topP is 1.5")]
    [InlineData("\"steps\": 3, \"rollout\": { \"stopStrings\": [\"\"] }", "rollout.stopStrings")]
    [InlineData("\"steps\": 3, \"rollout\": { \"promptsPerStep\": 2 }", "learner.miniBatches is 4")]
    [InlineData("\"steps\": 3, \"rollout\": null", "rollout cannot be read")]
    [InlineData("\"steps\": 3, \"maxStaleness\": -1", "maxStaleness is -1")]
    [InlineData("\"steps\": 3, \"stallTimeoutSeconds\": 0", "stallTimeoutSeconds is 0")]
    [InlineData("\"steps\": 3, \"name\": \"../x\"", "name is \"../x\"")]
    [InlineData("\"steps\": 3, \"model\": { }", "model is without create and folder")]
    [InlineData("\"steps\": 3, \"model\": { \"folder\": \"m\", \"create\": {} }", "model is both create and folder")]
    [InlineData("\"steps\": 3, \"model\": { \"create\": { \"headSize\": 20 } }", "model.create.headSize is 20")]
    [InlineData("\"steps\": 3, \"model\": { \"create\": { \"keyValueHeadCount\": 3 } }", "model.create.keyValueHeadCount is 3")]
    [InlineData("\"steps\": 3, \"model\": { \"create\": { \"modelType\": \"gpt2\" } }", "model.create.modelType is gpt2")]
    [InlineData("\"steps\": 3, \"model\": { \"create\": { \"modelType\": \"qwen3_moe\", \"expertsPerToken\": 2 } }", "model.create.expertCount is null")]
    [InlineData("\"steps\": 3, \"model\": { \"create\": { \"modelType\": \"qwen3_moe\", \"expertCount\": 1, \"expertsPerToken\": 1 } }", "model.create.expertCount is 1")]
    [InlineData("\"steps\": 3, \"model\": { \"create\": { \"modelType\": \"qwen3_moe\", \"expertCount\": 4, \"expertsPerToken\": 5 } }", "model.create.expertsPerToken is 5")]
    [InlineData("\"steps\": 3, \"model\": { \"create\": { \"expertCount\": 4 } }", "model.create.expertCount is 4")]
    [InlineData("\"steps\": 3, \"coldStart\": { \"steps\": 0 }", "coldStart.steps is 0")]
    [InlineData("\"steps\": 3, \"evaluation\": { \"samples\": 4, \"temperature\": 0 }", "evaluation.samples is 4")]
    [InlineData("\"steps\": 3, \"checkpoint\": { \"keep\": 0 }", "checkpoint.keep is 0")]
    [InlineData("\"steps\": 3, \"engine\": { \"swap\": \"never\" }", "engine.swap is \"never\"")]
    [InlineData("\"steps\": 3, \"engine\": { \"session\": \"genai\", \"slots\": 33 }", "engine.slots is 33")]
    [InlineData("\"steps\": 3, \"engine\": { \"session\": \"genai\", \"slots\": 32, \"prepack\": \"behind\" }", "engine.prepack is behind")]
    [InlineData("\"steps\": 3, \"engine\": { \"session\": \"genai\", \"slots\": 32, \"prepack\": \"direct\" }", "engine.prepack is direct")]
    [InlineData("\"steps\": 3, \"engine\": { \"precision\": \"int8\", \"prepack\": \"direct\" }", "engine.prepack is direct")]
    [InlineData("\"steps\": 3, \"engine\": { \"provider\": \"cuda\", \"prepack\": \"direct\" }", "engine.prepack is direct")]
    [InlineData("\"steps\": 3, \"engine\": { \"prepack\": \"always\" }", "engine.prepack is \"always\"")]
    [InlineData("\"steps\": 3, \"engine\": { \"session\": \"genai\", \"slots\": 32, \"swap\": \"inFlight\" }", "engine.inFlightKeyValues is keep")]
    [InlineData("\"steps\": 3, \"engine\": { \"promptRows\": 1 }", "engine.promptRows is 1")]
    [InlineData("\"steps\": 3, \"engine\": { \"prefillChunk\": 0 }", "engine.prefillChunk is 0")]
    [InlineData("\"steps\": 3, \"learner\": { \"learningRate\": -1 }", "learner.learningRate is -1")]
    [InlineData("\"name\": \"x\", \"steps\": 3, \"objective\": { \"name\": \"sappo\" }", "objective.name is \"sappo\"")]
    [InlineData("\"steps\": 3, \"objective\": { \"clipLow\": 0.1 }", "objective.clipLow is set, but sapo does not use it")]
    [InlineData("\"name\": \"x\", \"steps\": 3, \"objective\": { \"name\": \"dppo\", \"normConstant\": 8, \"topK\": 5 }", "objective.divergence is binary-tv")]
    [InlineData("\"name\": \"x\", \"steps\": 3, \"objective\": { \"name\": \"capo\", \"topK\": 0 }", "objective.topK is 0")]
    [InlineData("\"name\": \"x\", \"steps\": 3, \"maxStaleness\": 1, \"objective\": { \"name\": \"dppo\", \"normConstant\": 8, \"divergence\": \"topk-kl\" }", "objective.divergence is topk-kl")]
    [InlineData("\"name\": \"x\", \"steps\": 3, \"objective\": { \"name\": \"capo\" }, \"learner\": { \"lora\": {} }", "objective.name is capo")]
    [InlineData("\"steps\": 3, \"selection\": { \"rule\": \"informativ\" }", "selection.rule is \"informativ\"")]
    [InlineData("\"steps\": 3, \"selection\": { \"mostBatches\": 1 }", "selection.mostBatches is 1")]
    [InlineData("\"steps\": 3, \"selection\": { \"mostSolved\": 3 }", "selection.rule is informative")]
    [InlineData("\"steps\": 3, \"selection\": { \"rule\": \"solve-count\", \"mostSolved\": 9 }", "1 to rollout.groupSize = 8")]
    [InlineData("\"steps\": 3, \"rollout\": { \"maxNewTokens\": 8, \"overlong\": { \"cache\": 9 } }", "1 to rollout.maxNewTokens = 8")]
    [InlineData("\"steps\": 3, \"rollout\": { \"overlong\": { } }", "rollout.overlong.cache is missing")]
    [InlineData("\"steps\": 3, \"curriculum\": { \"candidates\": 1 }", "curriculum.candidates is 1")]
    [InlineData("\"steps\": 3, \"learner\": { \"batchReuse\": { \"first\": 3, \"last\": 2 } }", "learner.batchReuse.last is 2")]
    [InlineData("\"steps\": 3, \"preferences\": { \"everySteps\": 3 }", "1 to steps - 1 = 2")]
    [InlineData("\"steps\": 3, \"advantage\": { \"estimator\": \"reinforce++\", \"klCoefficient\": 0.1 }", "objective.kl is the penalty to use")]
    [InlineData("\"name\": \"x\", \"steps\": 3, \"objective\": { \"name\": \"gmpo\" }, \"advantage\": { \"estimator\": \"reinforce++\", \"gamma\": 0.9 }", "1 with objective gmpo")]
    [InlineData("\"steps\": 3, \"advantage\": { \"rewardWeights\": [1] }", "advantage.rewardWeights is set, but grpo does not use it")]
    [InlineData("\"steps\": 3, \"advantage\": { \"estimator\": \"gdpo\", \"rewardWeights\": [1, 2] }", "one number, for the task's reward")]
    [InlineData("\"steps\": 3, \"objective\": { \"offPolicyAgainst\": \"anchor\" }", "null without offPolicyThreshold")]
    [InlineData("\"steps\": 3, \"objective\": { \"correction\": { \"action\": \"mask\", \"high\": null } }", "truncate without low and high")]
    [InlineData("\"steps\": 3, \"learner\": { \"finalLearningRateShare\": 0.1 }", "0 with learner.schedule constant")]
    [InlineData("\"steps\": 3, \"learner\": { \"weightDecay\": 1e999 }", "learner.weightDecay is Infinity")]
    [InlineData("\"steps\": 3, \"engine\": { \"maxKeptIds\": 64 }", "512 without rollout.topK")]
    [InlineData("\"steps\": 3, \"engine\": { \"swap\": \"inFlight\" }", "drain with maxStaleness 0")]
    [InlineData("\"steps\": 3, \"maxStaleness\": 2, \"exactStaleness\": true, \"engine\": { \"swap\": \"inFlight\" }", "or exactStaleness")]
    [InlineData("\"steps\": 3, \"maxStaleness\": 2, \"engine\": { \"inFlightKeyValues\": \"recompute\" }", "keep with engine.swap drain")]
    [InlineData("\"steps\": 3, \"engine\": { \"session\": \"genai\", \"slots\": 8, \"prefillChunk\": 64 }", "512 with engine.session genai")]
    [InlineData("\"steps\": 3, \"engine\": { \"session\": \"genai\", \"slots\": 8, \"promptRows\": 8 }", "4 with engine.session genai")]
    [InlineData("\"steps\": 3, \"rollout\": { \"minPFirst\": true, \"minP\": 0.1, \"topK\": 4 }", "rollout.minPFirst is true")]
    [InlineData("\"steps\": 3, \"evaluation\": { \"problems\": 0, \"samples\": 4 }", "1 with evaluation.problems 0")]
    [InlineData("\"steps\": 3, \"evaluation\": { \"problems\": 0, \"temperature\": 0 }", "evaluation.temperature is 0")]
    [InlineData("\"steps\": 3, \"advantage\": { \"estimator\": \"gdpo\", \"rewardWeights\": [2] }", "null where the task's is the only reward")]
    [InlineData("\"steps\": 3, \"advantage\": { \"estimator\": \"gdpo\" }, \"rollout\": { \"overlong\": { \"cache\": 4, \"penalty\": 2 } }", "advantage.rewardWeights weigh it")]
    [InlineData("\"steps\": 3, \"task\": { \"kind\": \"jsonl\", \"train\": \"t\", \"unanswered\": \"skip\" }", "task.unanswered is \"skip\"")]
    [InlineData("\"steps\": 3, \"objective\": { \"entropyBonus\": { \"maximum\": 1 } }", "objective.entropyBonus.target is not given")]
    [InlineData("\"steps\": 3, \"objective\": { \"entropyBonus\": { \"target\": 1, \"coefficient\": 0.2 } }", "objective.entropyBonus.coefficient is 0.2")]
    [InlineData("\"steps\": 3, \"advantage\": { \"estimator\": \"grop\" }", "advantage.estimator is \"grop\"")]
    [InlineData("\"steps\": 3, \"task\": { \"kind\": \"jsonl\", \"train\": \"t\" }", "task.heldOut")]
    [InlineData("\"steps\": 3, \"task\": { \"kind\": \"jsonl\", \"train\": \"t\", \"heldOut\": \"h\" }", "model is create")]
    public void Parse_WrongValues_NamesMemberAndValue(string member, string found)
    {
        string[] required = ["\"name\": \"x\"", "\"model\": { \"create\": {} }", "\"task\": { \"kind\": \"addition\" }"];
        var text = "{ " + string.Join(", ", required.Where(line => !member.Contains(line[..line.IndexOf(':')], StringComparison.Ordinal)).Append(member)) + " }";
        var error = Assert.Throws<UserErrorException>(() => Parse(text));
        Assert.StartsWith("runs/x.json", error.Message, StringComparison.Ordinal);
        Assert.Contains(found, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ToConfig_MixtureOfExperts_EveryLayerHasThem()
    {
        var create = Parse("""{ "name": "x", "steps": 1, "task": { "kind": "addition" }, "model": { "create": { "modelType": "qwen3_moe", "layerCount": 3, "expertCount": 8, "expertsPerToken": 2, "intermediateSize": 48 } } }""").Model.Create!;
        var config = create.ToConfig(beginTokenId: 1, endTokenId: 2, padTokenId: 0);
        Assert.Equal((8, 2, 48, true), (config.Mixture!.Experts, config.Mixture.ExpertsPerToken, config.Mixture.IntermediateSize, config.Mixture.NormalizeTopK));
        Assert.Equal([true, true, true], config.Mixture.SparseLayers);
        Assert.True(config.QueryKeyNorm);
        Assert.Contains(config.Parameters(), parameter => parameter.Name == "model.layers.2.mlp.experts.7.down_proj.weight");
        Assert.Null(new ModelCreateOptions().ToConfig(1, 2, 0).Mixture);
    }

    [Fact]
    public void Read_MissingFile_SaysSo()
    {
        var error = Assert.Throws<UserErrorException>(() => RunOptionsReader.Read("/no/such/run.json"));
        Assert.Contains("/no/such/run.json does not exist", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_RelativePaths_AreRelativeToTheRunFile()
    {
        var folder = Directory.CreateTempSubdirectory("sapo-run-").FullName;
        try
        {
            var file = Path.Combine(folder, "run.json");
            File.WriteAllText(file, """{ "name": "x", "model": { "folder": "../m" }, "task": { "kind": "jsonl", "train": "data/t.jsonl", "heldOut": "/h.jsonl" }, "steps": 1 }""");
            var options = RunOptionsReader.Read(file);
            Assert.Equal(Path.Combine(Path.GetDirectoryName(folder)!, "m"), options.Model.Folder);
            var task = Assert.IsType<JsonlTaskOptions>(options.Task);
            Assert.Equal(Path.Combine(folder, "data", "t.jsonl"), task.Train);
            Assert.Equal("/h.jsonl", task.HeldOut);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void LearningRateAt_ColdStart_WarmsUpThenFalls()
    {
        var options = new ColdStartOptions { Steps = 100, LearningRate = 1, WarmupSteps = 10, FinalLearningRateShare = 0.05 };
        Assert.Equal(0.1, options.LearningRateAt(0), 1e-12);          // min(1, 1/10) * (1 - 0)
        Assert.Equal(0.5, options.LearningRateAt(50), 1e-12);         // 1 - 50/100
        Assert.Equal(0.05, options.LearningRateAt(99), 1e-12);        // the floor: 1 - 99/100 is less
    }

    private static RunOptions Parse(string text) => RunOptionsReader.Parse(Encoding.UTF8.GetBytes(text), "runs/x.json");
}
