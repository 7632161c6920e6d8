// numpy's default random numbers, so that a model that a Python script makes of a seed can be made here.
//
//   seed words -> SeedSequence (hash to 4 words, then to 256 bits) -> PCG64 (128-bit congruence, XSL-RR output) -> ziggurat -> normal
//
// Written from the published algorithms: O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms"
// (2014) and her seed_seq_fe; Marsaglia and Tsang, "The Ziggurat Method for Generating Random Variables" (2000), with numpy's
// choice of bits for strip, sign and place. Bit for bit numpy's, but for the last bit of one number in a million: far out in the
// tail numpy takes logarithms of the C library's log1pf.
using System.Numerics;

namespace Sapo.Parity.Models;

/// <summary>What <c>numpy.random.Generator(numpy.random.PCG64(seed words))</c> yields.</summary>
internal sealed class NumpyGenerator
{
    private static readonly UInt128 Multiplier = new(0x2360ED051FC65DA4, 0x4385DF649FCCF645);

    private readonly UInt128 _increment;
    private UInt128 _state;
    private uint? _upperHalf; // of the last 64 bits, when only the lower one was used

    /// <param name="seed">The words of the seed, each below 2^32.</param>
    public NumpyGenerator(params uint[] seed)
    {
        var words = new SeedSequence(seed).Words64(4);
        _increment = (new UInt128(words[2], words[3]) << 1) | 1;
        Step();
        _state += new UInt128(words[0], words[1]);
        Step();
    }

    /// <summary>64 random bits.</summary>
    public ulong NextUInt64()
    {
        Step();
        return BitOperations.RotateRight((ulong)(_state >> 64) ^ (ulong)_state, (int)(_state >> 122));
    }

    /// <summary>32 random bits: the lower half of 64, then the upper one.</summary>
    public uint NextUInt32()
    {
        if (_upperHalf is { } upper)
        {
            _upperHalf = null;
            return upper;
        }
        var bits = NextUInt64();
        _upperHalf = (uint)(bits >> 32);
        return (uint)bits;
    }

    /// <summary>A multiple of 2^-24 in [0, 1).</summary>
    public float NextSingle() => (NextUInt32() >> 8) * (1f / (1 << 24));

    /// <summary>What <c>standard_normal(dtype=float32)</c> yields: 8 bits choose the strip, 1 the sign, 23 the place.</summary>
    public float NextNormal()
    {
        while (true)
        {
            var bits = NextUInt32();
            var (strip, negative, place) = ((int)(bits & 0xFF), (bits & 0x100) != 0, bits >> 9);
            var x = place * Ziggurat.Width[strip];
            if (negative) x = -x;
            if (place < Ziggurat.Inside[strip]) return x;
            if (strip == 0) return Tail(negative: (place & 0x100) != 0);
            var height = (Ziggurat.Height[strip - 1] - Ziggurat.Height[strip]) * NextSingle() + Ziggurat.Height[strip];
            if (height < Math.Exp(-0.5 * x * x)) return x;
        }
    }

    private float Tail(bool negative)
    {
        while (true)
        {
            var x = (float)(1 / Ziggurat.Edge) * NextExponential();
            var y = NextExponential();
            if (y + y > x * x) return negative ? -((float)Ziggurat.Edge + x) : (float)Ziggurat.Edge + x;
        }
    }

    private float NextExponential() => -(float)Math.Log(1.0 - NextSingle());

    private void Step() => _state = _state * Multiplier + _increment;

    /// <summary>256 strips of equal area under exp(-x^2 / 2), strip 0 with the tail.</summary>
    private static class Ziggurat
    {
        public const double Edge = 3.6541528853610088; // where the tail begins
        private const double Area = 0.004928673233974655; // of each strip
        private const int Strips = 256, Places = 1 << 23;

        /// <summary>A place in the strip below this one lies under the curve for sure.</summary>
        public static readonly uint[] Inside = new uint[Strips];

        /// <summary>x of the strip's right end over the number of places.</summary>
        public static readonly float[] Width = new float[Strips];

        /// <summary>The curve at the strip's right end.</summary>
        public static readonly float[] Height = new float[Strips];

        static Ziggurat()
        {
            var bottom = Area / Curve(Edge); // the width of a rectangle with the area of strip 0
            (Inside[0], Width[0], Height[0]) = ((uint)Math.Round(Edge / bottom * Places), (float)(bottom / Places), 1);
            var right = Edge;
            for (var strip = Strips - 1; strip > 0; strip--)
            {
                (Width[strip], Height[strip]) = ((float)(right / Places), (float)Curve(right));
                var left = strip == 1 ? 0 : Math.Sqrt(-2 * Math.Log(Area / right + Curve(right)));
                Inside[strip] = (uint)Math.Round(left / right * Places);
                right = left;
            }
        }

        private static double Curve(double x) => Math.Exp(-0.5 * x * x);
    }

    /// <summary>Spreads the entropy of a few words over many.</summary>
    private sealed class SeedSequence
    {
        private readonly uint[] _pool = new uint[4];

        public SeedSequence(uint[] entropy)
        {
            var hash = new Hash(0x43B0D7E5, 0x931E8875);
            for (var i = 0; i < _pool.Length; i++) _pool[i] = hash.Of(i < entropy.Length ? entropy[i] : 0);
            for (var from = 0; from < _pool.Length; from++)
                for (var to = 0; to < _pool.Length; to++)
                    if (from != to) _pool[to] = Mix(_pool[to], hash.Of(_pool[from]));
            foreach (var word in entropy.Skip(_pool.Length))
                for (var to = 0; to < _pool.Length; to++) _pool[to] = Mix(_pool[to], hash.Of(word));
        }

        public ulong[] Words64(int count)
        {
            var hash = new Hash(0x8B51F9DD, 0x58F38DED);
            return [.. Enumerable.Range(0, count).Select(i =>
            {
                var lower = hash.Of(_pool[2 * i % _pool.Length]);
                return lower | (ulong)hash.Of(_pool[(2 * i + 1) % _pool.Length]) << 32;
            })];
        }

        private static uint Mix(uint x, uint y) => Fold(0xCA01F9DD * x - 0x4973F715 * y);

        private static uint Fold(uint value) => value ^ (value >> 16);

        private sealed class Hash(uint state, uint multiplier)
        {
            private uint _state = state;

            public uint Of(uint value)
            {
                value ^= _state;
                _state *= multiplier;
                return Fold(value * _state);
            }
        }
    }
}
