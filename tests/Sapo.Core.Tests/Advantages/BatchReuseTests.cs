using Sapo.Core.Advantages;

namespace Sapo.Core.Tests.Advantages;

public sealed class BatchReuseTests
{
    [Fact]
    public void CountAt_FiveStepsFromOneToThree_RisesInAStraightLine()
    {
        // 1, 1.5, 2, 2.5, 3, halves away from zero.
        Assert.Equal([1, 2, 2, 3, 3], Enumerable.Range(0, 5).Select(step => BatchReuse.CountAt(step, 5, 1, 3)));
        Assert.Equal(2, BatchReuse.CountAt(0, 1, 2, 9));
    }
}
