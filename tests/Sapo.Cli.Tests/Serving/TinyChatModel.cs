using Sapo.Core.Models;
using Sapo.Rollout.Tokenization;
using Sapo.Sync;

namespace Sapo.Cli.Tests.Serving;

/// <summary>A Hugging Face folder with random weights, one token per character of printable ASCII, and a chat template.</summary>
internal static class TinyChatModel
{
    public const int Positions = 16384;

    public static string Create(string folder)
    {
        HuggingFaceFolder.Create(
            folder,
            new ModelConfig
            {
                ModelType = "qwen3", VocabSize = CharacterTokenizerFile.FirstCharacterId + '~' - ' ' + 1, HiddenSize = 32, LayerCount = 2, HeadCount = 4, KeyValueHeadCount = 2, HeadSize = 16,
                IntermediateSize = 48, MaxPositions = Positions, TieWordEmbeddings = true, QueryKeyNorm = true, SlidingWindows = [null, null], EndTokenIds = [CharacterTokenizerFile.EndId],
            },
            seed: 1, standardDeviation: 0.3);
        CharacterTokenizerFile.Write(folder, string.Concat(Enumerable.Range(' ', '~' - ' ' + 1).Select(code => (char)code)), Positions);
        File.WriteAllText(
            Path.Combine(folder, "chat_template.jinja"),
            "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }};{% endfor %}{% if add_generation_prompt %}assistant:{% if enable_thinking %} hm{% endif %}{% endif %}");
        return folder;
    }
}
