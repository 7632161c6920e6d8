namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>A sum of monomials with rational coefficients, none of them 0. Immutable.</summary>
internal sealed class Polynomial
{
    private const int MostTerms = 64;
    private readonly Dictionary<Monomial, Rational> _terms;

    private Polynomial(Dictionary<Monomial, Rational> terms)
    {
        if (terms.Count > MostTerms) throw new NotEvaluatedException($"more than {MostTerms} terms");
        _terms = terms;
    }

    /// <summary>The terms.</summary>
    public IReadOnlyDictionary<Monomial, Rational> Terms => _terms;

    /// <summary>Whether it is 0.</summary>
    public bool IsZero => _terms.Count == 0;

    /// <summary>The value if it is a rational number.</summary>
    public Rational? AsRational => _terms.Count == 0 ? Rational.Zero : _terms.Count == 1 && _terms.TryGetValue(Monomial.One, out var value) ? value : null;

    /// <summary>A number.</summary>
    public static Polynomial Of(Rational value) => Of(value, Monomial.One);

    /// <summary>One term.</summary>
    public static Polynomial Of(Rational coefficient, Monomial product) => new(coefficient.IsZero ? [] : new Dictionary<Monomial, Rational> { [product] = coefficient });

    /// <summary>The sum of two.</summary>
    public Polynomial Plus(Polynomial other)
    {
        var sum = new Dictionary<Monomial, Rational>(_terms);
        foreach (var (product, coefficient) in other._terms) Add(sum, product, coefficient);
        return new Polynomial(sum);
    }

    /// <summary>The product of two.</summary>
    public Polynomial Times(Polynomial other)
    {
        if ((long)_terms.Count * other._terms.Count > MostTerms * MostTerms) throw new NotEvaluatedException("a product of too many terms");
        var result = new Dictionary<Monomial, Rational>();
        foreach (var (left, leftCoefficient) in _terms)
        {
            foreach (var (right, rightCoefficient) in other._terms)
            {
                var (factor, product) = left.Times(right);
                Add(result, product, leftCoefficient * rightCoefficient * factor);
            }
        }
        return new Polynomial(result);
    }

    private static void Add(Dictionary<Monomial, Rational> sum, Monomial product, Rational coefficient)
    {
        var total = sum.GetValueOrDefault(product) + coefficient;
        if (total.IsZero) sum.Remove(product);
        else sum[product] = total;
    }
}
