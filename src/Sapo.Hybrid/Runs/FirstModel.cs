using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Tasks;
using Sapo.Rollout.Tokenization;
using Sapo.Sync;

namespace Sapo.Hybrid.Runs;

/// <summary>The model a run begins with.</summary>
internal static class FirstModel
{
    /// <summary>The Hugging Face folder: the one named, or one made from the seed with the task's tokenizer beside it.</summary>
    public static string Prepare(RunOptions options, RunFolder folder)
    {
        if (options.Model.Create is not { } create) return options.Model.Folder!;
        if (create.VocabSize < AdditionTokens.Count)
            throw new UserErrorException(
                $"model.create.vocabSize is {create.VocabSize}",
                $"at least {AdditionTokens.Count}, the number of tokens of the addition task", "Correct the run file");
        if (Directory.Exists(folder.Model)) return folder.Model;
        var partial = AtomicFolder.Begin(folder.Model);
        HuggingFaceFolder.Create(
            partial, create.ToConfig(AdditionTokens.Begin, AdditionTokens.End, AdditionTokens.Pad), options.Seed, create.InitStd);
        CharacterTokenizerFile.Write(partial, AdditionTokens.Characters, create.MaxPositions);
        AtomicFolder.Finish(folder.Model);
        return folder.Model;
    }
}
