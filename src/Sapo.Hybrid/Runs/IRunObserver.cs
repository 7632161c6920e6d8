namespace Sapo.Hybrid.Runs;

/// <summary>Follows a run while it goes on: a table, plain lines, or nothing.</summary>
public interface IRunObserver
{
    /// <summary>One line of news.</summary>
    void Say(string line);

    /// <summary>The cold start got on.</summary>
    void ColdStartAdvanced(ColdStartRecord record, int steps);

    /// <summary>An evaluation ended.</summary>
    /// <param name="moment"><c>before</c> or <c>after</c>.</param>
    /// <param name="result">Its result.</param>
    void Evaluated(string moment, EvaluationResult result);

    /// <summary>A step ended.</summary>
    void StepDone(StepRecord record, int steps);
}
