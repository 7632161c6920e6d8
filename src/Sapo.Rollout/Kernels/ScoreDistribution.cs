using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Sapo.Rollout.Kernels;

/// <summary>
/// The softmax of one row's scores over a temperature, perhaps cut behind one rank. Nothing of the vocabulary's size is stored: what is needed of it
/// is computed again from the scores. Sums are float64, over 16 lanes, then the lanes, then block after block: the same for a row whatever stands beside it.
/// A score that is NaN or infinitely large makes the total NaN.
/// </summary>
/// <param name="scores">[size]: logits, or what penalties made of them.</param>
/// <param name="size">Number of ids, positive.</param>
/// <param name="temperature">Positive.</param>
internal unsafe struct ScoreDistribution(float* scores, int size, float temperature)
{
    private const int Lanes = 16, SmallestBlock = 64;

    private readonly float _largest = Largest(scores, size);
    private readonly float _inverse = 1 / temperature;
    private readonly int _blockSize = Math.Max(SmallestBlock, ((int)Math.Sqrt(size) + Lanes - 1) / Lanes * Lanes); // about the root: as many blocks as a block has ids
    private bool _isCut;
    private float _lowest; // the score of the last rank that is left
    private int _lastId;   // its id: of equal scores, higher ids are cut

    /// <summary>Number of ids.</summary>
    public readonly int Size => size;

    /// <summary>Number of sums that <see cref="Add"/> fills: about the root of the size.</summary>
    public readonly int Blocks => (size + _blockSize - 1) / _blockSize;

    /// <summary>Leaves only the ids down to one: those with larger scores, and of equal scores those that are not higher.</summary>
    public void CutBehind(int id) => (_isCut, _lowest, _lastId) = (true, scores[id], id);

    /// <summary>A score.</summary>
    public readonly float Score(int id) => scores[id];

    /// <summary>How likely an id is beside the most likely one, whether it was cut or not.</summary>
    public readonly double Ratio(int id) => Math.Exp(Exponent(id));

    /// <summary>The natural log-prob of an id.</summary>
    /// <param name="id">The id.</param>
    /// <param name="total">What <see cref="Add"/> gave.</param>
    public readonly float LogProb(int id, double total) =>
        _isCut && (scores[id] < _lowest || (scores[id] == _lowest && id > _lastId)) ? float.NegativeInfinity : (float)(Exponent(id) - Math.Log(total));

    /// <summary>Sums up how likely the ids are beside the most likely one.</summary>
    /// <param name="sums">The sums of the blocks.</param>
    /// <returns>Their sum.</returns>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly double Add(double* sums)
    {
        var total = 0.0;
        var last = stackalloc float[Lanes];
        for (int from = 0, block = 0; from < size; from += _blockSize, block++)
        {
            var whole = Math.Min(_blockSize, size - from) / Lanes * Lanes;
            sums[block] = Sum(scores + from, from, whole);
            if (from + whole < Math.Min(from + _blockSize, size)) sums[block] += Sum(Widened(from + whole, last), from + whole, Lanes);
            total += sums[block];
        }
        return total;
    }

    /// <summary>The smallest id whose running sum exceeds a share of the total; where rounding leaves none, the last that adds to it.</summary>
    /// <param name="share">In [0, 1).</param>
    /// <param name="sums">What <see cref="Add"/> filled.</param>
    /// <param name="total">What it gave.</param>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly int Draw(float share, double* sums, double total)
    {
        var target = share * total;
        var (block, before) = (0, 0.0);
        var through = 0.0;
        for (var i = 0; i < Blocks && through <= target; i++)
        {
            if (sums[i] == 0) continue;
            (block, before) = (i, through);
            through += sums[i];
        }

        float* ratios = stackalloc float[Lanes], last = stackalloc float[Lanes];
        var id = block * _blockSize;
        through = before;
        var to = Math.Min(id + _blockSize, size);
        for (var i = id; i < to && through <= target; i += Lanes)
        {
            Ratios(i + Lanes <= size ? scores + i : Widened(i, last), i).Store(ratios);
            for (var lane = 0; lane < Lanes && through <= target; lane++)
            {
                if (ratios[lane] == 0) continue;
                id = i + lane;
                through += ratios[lane];
            }
        }
        return id;
    }

    /// <summary>The most likely id, of equals the lowest.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly int Likeliest()
    {
        var id = 0;
        for (; id + Lanes <= size; id += Lanes)
        {
            var found = Vector512.Equals(Vector512.Load(scores + id), Vector512.Create(_largest)).ExtractMostSignificantBits();
            if (found != 0) return id + BitOperations.TrailingZeroCount(found);
        }
        for (; id < size; id++)
            if (scores[id] == _largest) return id;
        return 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Largest(float* scores, int size)
    {
        Vector512<float> even = Vector512.Create(float.NegativeInfinity), odd = even;
        var i = 0;
        for (; i + 2 * Lanes <= size; i += 2 * Lanes) (even, odd) = (Vector512.MaxNative(even, Vector512.Load(scores + i)), Vector512.MaxNative(odd, Vector512.Load(scores + i + Lanes)));
        var largest = VectorMath.Largest(Vector512.MaxNative(even, odd));
        for (; i < size; i++) largest = Math.Max(largest, scores[i]);
        return largest;
    }

    // The scores from an id on, fewer than 16, then -infinity.
    private readonly float* Widened(int from, float* last)
    {
        for (var lane = 0; lane < Lanes; lane++) last[lane] = from + lane < size ? scores[from + lane] : float.NegativeInfinity;
        return last;
    }

    // Calls nothing, so that its sums stay in registers.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly double Sum(float* values, int from, int count)
    {
        Vector512<double> low = default, high = default;
        for (var i = 0; i < count; i += Lanes)
        {
            var (first, second) = Vector512.Widen(Ratios(values + i, from + i));
            (low, high) = (low + first, high + second);
        }
        return Vector512.Sum(low + high);
    }

    private readonly double Exponent(int id) => ((double)scores[id] - _largest) / temperature;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly Vector512<float> Ratios(float* sixteen, int from)
    {
        var values = Vector512.Load(sixteen);
        var ratios = VectorMath.Exp((values - Vector512.Create(_largest)) * _inverse);
        if (!_isCut) return ratios;
        var lowest = Vector512.Create(_lowest);
        var isBehind = Vector512.GreaterThan(Vector512.CreateSequence(from, 1), Vector512.Create(_lastId)).AsSingle();
        return Vector512.ConditionalSelect(Vector512.LessThan(values, lowest) | (Vector512.Equals(values, lowest) & isBehind), Vector512<float>.Zero, ratios);
    }
}
