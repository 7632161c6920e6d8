using System.Globalization;
using System.Numerics;

namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>
/// A product of symbols to rational powers: variables, pi, e, and primes (2^(1/2) is the root of 2). Primes have powers
/// from 0 to below 1; what is beyond goes into the coefficient. So equal products have equal factors: roots of different
/// primes are independent over the rationals.
/// </summary>
internal sealed class Monomial : IEquatable<Monomial>
{
    /// <summary>The empty product, 1.</summary>
    public static readonly Monomial One = new([]);

    private readonly string _key;

    private Monomial(SortedDictionary<string, Rational> powers)
    {
        Powers = powers;
        _key = string.Join(' ', powers.Select(power => $"{power.Key}^{power.Value}"));
    }

    /// <summary>The power of each symbol, none of them 0.</summary>
    public IReadOnlyDictionary<string, Rational> Powers { get; }

    /// <summary>One symbol to a power. A prime is named by its digits.</summary>
    /// <returns>The product and what goes into the coefficient.</returns>
    public static (Rational Coefficient, Monomial Product) Of(string symbol, Rational power) =>
        Normalised(new SortedDictionary<string, Rational>(StringComparer.Ordinal) { [symbol] = power });

    /// <summary>The product of two.</summary>
    public (Rational Coefficient, Monomial Product) Times(Monomial other)
    {
        var powers = new SortedDictionary<string, Rational>(StringComparer.Ordinal);
        foreach (var (symbol, power) in Powers.Concat(other.Powers)) powers[symbol] = powers.GetValueOrDefault(symbol) + power;
        return Normalised(powers);
    }

    /// <summary>Every power multiplied.</summary>
    public (Rational Coefficient, Monomial Product) Power(Rational exponent)
    {
        var powers = new SortedDictionary<string, Rational>(StringComparer.Ordinal);
        foreach (var (symbol, power) in Powers) powers[symbol] = power * exponent;
        return Normalised(powers);
    }

    public bool Equals(Monomial? other) => other is not null && string.Equals(_key, other._key, StringComparison.Ordinal);

    public override bool Equals(object? obj) => Equals(obj as Monomial);

    public override int GetHashCode() => StringComparer.Ordinal.GetHashCode(_key);

    private static (Rational Coefficient, Monomial Product) Normalised(SortedDictionary<string, Rational> powers)
    {
        var coefficient = Rational.One;
        var product = new SortedDictionary<string, Rational>(StringComparer.Ordinal);
        foreach (var (symbol, power) in powers)
        {
            var rest = power;
            if (char.IsAsciiDigit(symbol[0]) && power.Floor is { IsZero: false } whole)
            {
                if (BigInteger.Abs(whole) > short.MaxValue) throw new NotEvaluatedException("a power that is too large");
                coefficient *= ((Rational)BigInteger.Parse(symbol, CultureInfo.InvariantCulture)).Power((int)whole);
                rest = power - whole;
            }
            if (!rest.IsZero) product[symbol] = rest;
        }
        return (coefficient, new Monomial(product));
    }
}
