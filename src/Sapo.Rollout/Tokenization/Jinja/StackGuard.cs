using System.Runtime.CompilerServices;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Refuses what is nested too deeply, before it would end the process by a stack overflow.</summary>
internal static class StackGuard
{
    /// <summary>Called once per level of a recursion over expressions, statements or values.</summary>
    public static void Check()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack()) throw new TemplateException("expressions or values are nested too deeply");
    }
}
