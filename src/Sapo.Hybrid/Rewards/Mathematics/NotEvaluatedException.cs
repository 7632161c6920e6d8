namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>An expression that is no value: broken, undefined, of a kind that is not evaluated, or too large. It is then compared as text.</summary>
internal sealed class NotEvaluatedException(string reason) : Exception(reason);
