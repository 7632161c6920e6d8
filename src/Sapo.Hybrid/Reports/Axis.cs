
namespace Sapo.Hybrid.Reports;

/// <summary>One axis of a chart: a range widened to round numbers, and the ticks on it.</summary>
internal sealed class Axis
{
    private readonly double _from;
    private readonly double _to;
    private readonly bool _logarithmic;

    private Axis(double from, double to, bool logarithmic, IReadOnlyList<double> ticks) =>
        (_from, _to, _logarithmic, Ticks) = (from, to, logarithmic, ticks);

    /// <summary>Values that get a grid line and a label.</summary>
    public IReadOnlyList<double> Ticks { get; }

    /// <summary>An axis over values with about <paramref name="count"/> ticks at multiples of 1, 2 or 5 times a power of ten.</summary>
    /// <param name="values">At least one finite value.</param>
    /// <param name="count">About how many ticks.</param>
    /// <param name="tight">Begin and end at the values themselves instead of at round numbers.</param>
    /// <param name="fromZero">Begin at 0 if all values are positive.</param>
    public static Axis Linear(IEnumerable<double> values, int count, bool tight = false, bool fromZero = false)
    {
        var (low, high) = Range(values);
        if (fromZero && low > 0) low = 0;
        if (high - low < 1e-12 * Math.Max(1, Math.Abs(high)))
            (low, high) = (tight ? low : low - Math.Max(0.5, Math.Abs(low) * 0.1), high + Math.Max(0.5, Math.Abs(high) * 0.1));
        var step = RoundStep((high - low) / count);
        var (first, last) = (Math.Floor(low / step + 1e-9), Math.Ceiling(high / step - 1e-9));
        var ticks = new List<double>();
        for (var multiple = first; multiple <= last; multiple++)
            if (!tight || (multiple * step >= low - step * 1e-9 && multiple * step <= high + step * 1e-9)) ticks.Add(multiple * step);
        return tight ? new Axis(low, high, false, ticks) : new Axis(first * step, last * step, false, ticks);
    }

    /// <summary>
    /// A logarithmic axis with a tick per power of ten (every second or third where there are many); values of 0 and
    /// less lie at its lower end.
    /// </summary>
    public static Axis Logarithmic(IEnumerable<double> values)
    {
        var (low, high) = Range(values.Where(value => value > 0).DefaultIfEmpty(1));
        var (first, last) = (Math.Floor(Math.Log10(low) + 1e-9), Math.Ceiling(Math.Log10(high) - 1e-9));
        if (last <= first) last = first + 1;
        var every = Math.Ceiling((last - first) / 6);
        var ticks = new List<double>();
        for (var power = first; power <= last; power += every) ticks.Add(Math.Pow(10, power));
        return new Axis(first, last, true, ticks);
    }

    /// <summary>Where a value lies between the axis's ends, 0 to 1.</summary>
    public double Place(double value)
    {
        if (_logarithmic) value = value > 0 ? Math.Log10(value) : _from;
        return Math.Clamp((value - _from) / (_to - _from), 0, 1);
    }

    /// <summary>A value as a short label.</summary>
    public string Label(double value)
    {
        if (_logarithmic) return value.ToString("0e0");
        if (Math.Abs(value) < 1e-12) return "0";
        if (Math.Abs(value) is >= 1e6 or < 1e-4) return value.ToString("0.#e0");
        return value.ToString("#,0.#####");
    }

    private static (double Low, double High) Range(IEnumerable<double> values)
    {
        var (low, high) = (double.PositiveInfinity, double.NegativeInfinity);
        foreach (var value in values.Where(double.IsFinite)) (low, high) = (Math.Min(low, value), Math.Max(high, value));
        return low <= high ? (low, high) : (0, 1);
    }

    private static double RoundStep(double rough)
    {
        var power = Math.Pow(10, Math.Floor(Math.Log10(rough)));
        return (rough / power) switch
        {
            <= 1 => power,
            <= 2 => 2 * power,
            <= 5 => 5 * power,
            _ => 10 * power,
        };
    }
}
