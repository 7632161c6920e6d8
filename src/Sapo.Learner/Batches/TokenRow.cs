namespace Sapo.Learner.Batches;

/// <summary>One completion whose log-probs are wanted.</summary>
/// <param name="TokenIds">The completion's ids; a completion without tokens has no log-probs and costs nothing.</param>
/// <param name="KeptTokenIds">Per token the ids over which the distribution is renormalised; null: the whole vocabulary.</param>
internal sealed record TokenRow(int[] TokenIds, int[][]? KeptTokenIds = null);

/// <summary>A prompt and completions of it.</summary>
/// <param name="Prompt">The prompt's ids, at least one.</param>
/// <param name="Rows">The completions.</param>
/// <param name="Temperature">Divides the logits, above 0.</param>
internal sealed record TokenGroup(int[] Prompt, IReadOnlyList<TokenRow> Rows, double Temperature);
