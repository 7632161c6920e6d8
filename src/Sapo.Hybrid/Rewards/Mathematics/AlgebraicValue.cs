using System.Globalization;
using System.Numerics;

namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>An exact value: one polynomial over another. Two values are equal if the cross products are.</summary>
internal sealed class AlgebraicValue
{
    private const int LargestSumPower = 12;
    private const int LargestPower = 2_000;
    private const int LargestFactorial = 500;
    private const int LongestFactored = 256;
    private const int LargestTrialDivisor = 10_000;
    private readonly Polynomial _numerator;
    private readonly Polynomial _denominator;

    private AlgebraicValue(Polynomial numerator, Polynomial denominator)
    {
        if (denominator.IsZero) throw new NotEvaluatedException("a division by 0");
        _numerator = numerator;
        _denominator = denominator;
    }

    /// <summary>The value if it is a rational number.</summary>
    public Rational? AsRational => _numerator.AsRational is { } above && _denominator.AsRational is { } below ? above / below : null;

    public static AlgebraicValue Of(Rational value) => new(Polynomial.Of(value), Polynomial.Of(Rational.One));

    /// <summary>A variable or a constant such as pi.</summary>
    public static AlgebraicValue OfSymbol(string symbol)
    {
        var (coefficient, product) = Monomial.Of(symbol, Rational.One);
        return new AlgebraicValue(Polynomial.Of(coefficient, product), Polynomial.Of(Rational.One));
    }

    public static AlgebraicValue operator +(AlgebraicValue left, AlgebraicValue right) =>
        new(left._numerator.Times(right._denominator).Plus(right._numerator.Times(left._denominator)), left._denominator.Times(right._denominator));

    public static AlgebraicValue operator -(AlgebraicValue value) => Of(-1) * value;

    public static AlgebraicValue operator *(AlgebraicValue left, AlgebraicValue right) => new(left._numerator.Times(right._numerator), left._denominator.Times(right._denominator));

    public static AlgebraicValue operator /(AlgebraicValue left, AlgebraicValue right) => new(left._numerator.Times(right._denominator), left._denominator.Times(right._numerator));

    /// <summary>Whether two values are the same for all values of their variables.</summary>
    public bool EqualTo(AlgebraicValue other) => (this + -other)._numerator.IsZero;

    /// <summary>Whether one is a rational multiple of the other, other than 0 times.</summary>
    public bool IsMultipleOf(AlgebraicValue other) => !_numerator.IsZero && !other._numerator.IsZero
        && _numerator.Times(other._denominator) is var left && _denominator.Times(other._numerator) is var right
        && left.Terms.First() is var (product, coefficient) && right.Terms.TryGetValue(product, out var against)
        && left.Times(Polynomial.Of(-(against / coefficient))).Plus(right).IsZero;

    /// <summary>The value to a rational power.</summary>
    public AlgebraicValue Power(AlgebraicValue exponent)
    {
        if (exponent.AsRational is not { } power) throw new NotEvaluatedException("a power that is no rational number");
        if (BigInteger.Abs(power.Numerator) > LargestPower || power.Denominator > LargestPower) throw new NotEvaluatedException("a power that is too large");
        if (!power.IsWhole) return FractionalPower(power);
        var whole = (int)power.Numerator;
        if (whole == 0) return _numerator.IsZero ? throw new NotEvaluatedException("0 to the power of 0") : Of(1);
        if (whole < 0) return (Of(1) / this).Power(Of(-whole));
        if (IsSingleTerm(out var coefficient, out var product))
        {
            var (factor, raised) = product.Power(whole);
            return new AlgebraicValue(Polynomial.Of(coefficient.Power(whole) * factor, raised), Polynomial.Of(Rational.One));
        }
        if (whole > LargestSumPower) throw new NotEvaluatedException("a large power of a sum");
        var result = Of(1);
        for (var i = 0; i < whole; i++) result *= this;
        return result;
    }

    /// <summary>The logarithm to a base, if it is a rational number.</summary>
    public AlgebraicValue Logarithm(AlgebraicValue ofBase)
    {
        if (!IsSingleTerm(out var coefficient, out var product) || !ofBase.IsSingleTerm(out var baseCoefficient, out var baseProduct)) throw new NotEvaluatedException("the logarithm of a sum");
        var exponents = Exponents(coefficient, product);
        var baseExponents = Exponents(baseCoefficient, baseProduct);
        if (baseExponents.Count == 0) throw new NotEvaluatedException("a logarithm to the base 1");
        var ratio = exponents.GetValueOrDefault(baseExponents.First().Key) / baseExponents.First().Value;
        foreach (var symbol in exponents.Keys.Union(baseExponents.Keys, StringComparer.Ordinal))
            if (!exponents.GetValueOrDefault(symbol).Equals(ratio * baseExponents.GetValueOrDefault(symbol))) throw new NotEvaluatedException("a logarithm that is not rational");
        return Of(ratio);
    }

    /// <summary>The factorial of a whole number.</summary>
    public AlgebraicValue Factorial()
    {
        if (AsRational is not { IsWhole: true } value || value.Numerator < 0 || value.Numerator > LargestFactorial) throw new NotEvaluatedException("a factorial that is too large or undefined");
        var result = BigInteger.One;
        for (var i = 2; i <= (int)value.Numerator; i++) result *= i;
        return Of(result);
    }

    private AlgebraicValue FractionalPower(Rational power)
    {
        if (!IsSingleTerm(out var coefficient, out var product) || coefficient.Numerator.Sign <= 0)
            return _numerator.IsZero && power.Numerator.Sign > 0 ? Of(0) : throw new NotEvaluatedException("the root of a sum or of a negative number");
        var result = Of(1);
        foreach (var (symbol, exponent) in Exponents(coefficient, product))
        {
            // The root of x^2 is |x|, not x.
            if (!char.IsAsciiDigit(symbol[0]) && symbol[0] != '\\' && power.Denominator.IsEven && exponent.Numerator.IsEven) throw new NotEvaluatedException("the root of a square of a variable");
            var (factor, raised) = Monomial.Of(symbol, exponent * power);
            result *= new AlgebraicValue(Polynomial.Of(factor, raised), Polynomial.Of(Rational.One));
        }
        return result;
    }

    /// <summary>The value as one coefficient and one product, if it is that.</summary>
    private bool IsSingleTerm(out Rational coefficient, out Monomial product)
    {
        (coefficient, product) = (Rational.Zero, Monomial.One);
        if (_numerator.Terms.Count != 1 || _denominator.Terms.Count != 1) return false;
        var ((above, aboveCoefficient), (below, belowCoefficient)) = (_numerator.Terms.First(), _denominator.Terms.First());
        var (inverse, inverted) = below.Power(-1);
        var (factor, quotient) = above.Times(inverted);
        (coefficient, product) = (aboveCoefficient / belowCoefficient * inverse * factor, quotient);
        return true;
    }

    /// <summary>A term as powers of primes and symbols.</summary>
    private static Dictionary<string, Rational> Exponents(Rational coefficient, Monomial product)
    {
        if (coefficient.Numerator.Sign <= 0) throw new NotEvaluatedException("a negative number under a root or logarithm");
        var exponents = new Dictionary<string, Rational>(product.Powers, StringComparer.Ordinal);
        AddPrimes(coefficient.Numerator, 1);
        AddPrimes(coefficient.Denominator, -1);
        return exponents;

        void AddPrimes(BigInteger number, int sign)
        {
            if (number.GetBitLength() > LongestFactored) throw new NotEvaluatedException("the root of a number that is too long to factor");
            for (var divisor = 2; divisor <= LargestTrialDivisor && number > 1; divisor++)
            {
                while ((number % divisor).IsZero)
                {
                    Add(divisor.ToString(CultureInfo.InvariantCulture), sign);
                    number /= divisor;
                }
                if ((BigInteger)divisor * divisor > number) break;
            }
            // What is left is prime if no divisor up to its root was missed.
            if (number > (BigInteger)LargestTrialDivisor * LargestTrialDivisor) throw new NotEvaluatedException("the root of a number that is too hard to factor");
            if (number > 1) Add(number.ToString(CultureInfo.InvariantCulture), sign);
        }

        void Add(string symbol, int sign)
        {
            var sum = exponents.GetValueOrDefault(symbol) + sign;
            if (sum.IsZero) exponents.Remove(symbol);
            else exponents[symbol] = sum;
        }
    }
}
