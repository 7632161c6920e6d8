namespace Sapo.Learner.Optimization;

/// <summary>The gradient was not finite several times in a row: the run cannot go on by itself.</summary>
public sealed class TrainingDivergedException(string message) : Exception(message);
