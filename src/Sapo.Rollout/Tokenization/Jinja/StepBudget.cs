namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>How much one rendering may still do: steps, and macro calls inside each other.</summary>
internal sealed class StepBudget
{
    private const long MostSteps = 5_000_000;
    private const int DeepestCalls = 50;
    private long _steps;
    private int _calls;

    /// <summary>Takes one step.</summary>
    public void Take()
    {
        if (++_steps > MostSteps) throw new TemplateException($"rendering takes more than {MostSteps} steps");
    }

    /// <summary>Runs a macro's body one level deeper.</summary>
    public T Deeper<T>(Func<T> body)
    {
        if (++_calls > DeepestCalls) throw new TemplateException($"more than {DeepestCalls} macro calls inside each other");
        var result = body();
        _calls--;
        return result;
    }
}
