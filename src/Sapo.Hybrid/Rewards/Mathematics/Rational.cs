using System.Globalization;
using System.Numerics;

namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>An exact fraction in lowest terms, its denominator positive. Too long results are refused, so that no answer takes much time or memory.</summary>
internal readonly struct Rational : IEquatable<Rational>
{
    private const int LongestBits = 10_000;
    private readonly BigInteger _denominatorMinusOne;

    /// <summary>A fraction.</summary>
    /// <exception cref="NotEvaluatedException">The denominator is 0, or a part is too long.</exception>
    public Rational(BigInteger numerator, BigInteger denominator)
    {
        if (denominator.IsZero) throw new NotEvaluatedException("a division by 0");
        var divisor = BigInteger.GreatestCommonDivisor(numerator, denominator) * denominator.Sign;
        Numerator = numerator / divisor;
        _denominatorMinusOne = denominator / divisor - 1;
        if (Numerator.GetBitLength() > LongestBits || _denominatorMinusOne.GetBitLength() > LongestBits) throw new NotEvaluatedException("a number that is too long");
    }

    /// <summary>0.</summary>
    public static Rational Zero => default;

    /// <summary>1.</summary>
    public static Rational One => new(1, 1);

    /// <summary>The upper part, with the sign.</summary>
    public BigInteger Numerator { get; }

    /// <summary>The lower part, at least 1.</summary>
    public BigInteger Denominator => _denominatorMinusOne + 1;

    /// <summary>Whether it is a whole number.</summary>
    public bool IsWhole => _denominatorMinusOne.IsZero;

    /// <summary>Whether it is 0.</summary>
    public bool IsZero => Numerator.IsZero;

    /// <summary>The largest whole number that is not larger.</summary>
    public BigInteger Floor => Numerator.Sign >= 0 || IsWhole ? Numerator / Denominator : Numerator / Denominator - 1;

    public static implicit operator Rational(BigInteger whole) => new(whole, 1);

    public static implicit operator Rational(int whole) => new(whole, 1);

    public static Rational operator +(Rational left, Rational right) => new(left.Numerator * right.Denominator + right.Numerator * left.Denominator, left.Denominator * right.Denominator);

    public static Rational operator -(Rational left, Rational right) => left + -right;

    public static Rational operator -(Rational value) => new(-value.Numerator, value.Denominator);

    public static Rational operator *(Rational left, Rational right) => new(left.Numerator * right.Numerator, left.Denominator * right.Denominator);

    public static Rational operator /(Rational left, Rational right) => new(left.Numerator * right.Denominator, left.Denominator * right.Numerator);

    /// <summary>The value to a whole power, also a negative one.</summary>
    public Rational Power(int exponent)
    {
        var length = Math.Max(Numerator.GetBitLength(), Denominator.GetBitLength());
        if (!BigInteger.Abs(Numerator).IsOne && length * Math.Abs((long)exponent) > LongestBits) throw new NotEvaluatedException("a power that is too long");
        var power = new Rational(BigInteger.Pow(Numerator, Math.Abs(exponent)), BigInteger.Pow(Denominator, Math.Abs(exponent)));
        return exponent >= 0 ? power : One / power;
    }

    public bool Equals(Rational other) => Numerator == other.Numerator && _denominatorMinusOne == other._denominatorMinusOne;

    public override bool Equals(object? obj) => obj is Rational other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(Numerator, _denominatorMinusOne);

    public override string ToString() => IsWhole ? Numerator.ToString(CultureInfo.InvariantCulture) : $"{Numerator.ToString(CultureInfo.InvariantCulture)}/{Denominator.ToString(CultureInfo.InvariantCulture)}";
}
