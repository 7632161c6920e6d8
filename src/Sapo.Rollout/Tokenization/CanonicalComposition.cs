// Unicode normalization form C (UAX #15). .NET's own string.Normalize does nothing to text beyond ASCII in
// globalization-invariant mode, which this program runs in; so the tables are carried along (CanonicalForms.txt).
//
//   decompose every character fully -> order each run of combining marks by class -> compose with the last starter
using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization;

/// <summary>Normalization form C. Safe for use by many threads.</summary>
internal static class CanonicalComposition
{
    /// <summary>No character below this one takes part in a composition as its second half or changes by itself.</summary>
    private const char FirstAffected = '\u0300';

    // Hangul syllables: leading consonant, vowel and optional trailing consonant by arithmetic (Unicode, chapter 3.12).
    private const int SyllableBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TrailBase = 0x11A7;
    private const int LeadCount = 19, VowelCount = 21, TrailCount = 28;

    private static readonly Lazy<Tables> Data = new(Tables.Load);

    /// <summary>The text in normalization form C. It must hold no lone surrogate.</summary>
    public static string Normalize(string text)
    {
        if (!text.AsSpan().ContainsAnyExceptInRange('\0', (char)(FirstAffected - 1))) return text;
        var tables = Data.Value;
        var codePoints = new List<int>(text.Length);
        foreach (var rune in text.EnumerateRunes()) Decompose(rune.Value, tables, codePoints);
        var ordered = codePoints.ToArray();
        OrderMarks(ordered, tables);
        var result = new StringBuilder(text.Length);
        foreach (var codePoint in Compose(ordered, tables)) result.Append(new Rune(codePoint).ToString());
        return result.ToString();
    }

    private static void Decompose(int codePoint, Tables tables, List<int> to)
    {
        var syllable = codePoint - SyllableBase;
        if (syllable is >= 0 and < LeadCount * VowelCount * TrailCount)
        {
            to.Add(LeadBase + syllable / (VowelCount * TrailCount));
            to.Add(VowelBase + syllable / TrailCount % VowelCount);
            if (syllable % TrailCount != 0) to.Add(TrailBase + syllable % TrailCount);
        }
        else if (tables.Decompositions.TryGetValue(codePoint, out var parts))
        {
            foreach (var part in parts) Decompose(part, tables, to);
        }
        else
        {
            to.Add(codePoint);
        }
    }

    /// <summary>Sorts each run of marks (class other than 0) by class; equal classes keep their order.</summary>
    private static void OrderMarks(int[] codePoints, Tables tables)
    {
        for (var start = 0; start < codePoints.Length; start++)
        {
            if (tables.ClassOf(codePoints[start]) == 0) continue;
            var end = start + 1;
            while (end < codePoints.Length && tables.ClassOf(codePoints[end]) != 0) end++;
            if (end - start > 1)
            {
                var run = codePoints[start..end];
                run.OrderBy(tables.ClassOf).ToArray().CopyTo(codePoints, start);
            }
            start = end;
        }
    }

    private static List<int> Compose(int[] codePoints, Tables tables)
    {
        var result = new List<int>(codePoints.Length);
        var starter = -1;
        var lastClass = 0;
        foreach (var codePoint in codePoints)
        {
            var combiningClass = tables.ClassOf(codePoint);
            // A mark reaches its starter unless one of the same or a higher class stands between; a starter only its neighbour.
            var reaches = starter >= 0 && (result.Count - 1 == starter || (lastClass < combiningClass && lastClass != 0));
            if (reaches && Pair(result[starter], codePoint, tables) is { } composed)
            {
                result[starter] = composed;
                continue;
            }
            if (combiningClass == 0) starter = result.Count;
            lastClass = combiningClass;
            result.Add(codePoint);
        }
        return result;
    }

    private static int? Pair(int first, int second, Tables tables)
    {
        int lead = first - LeadBase, vowel = second - VowelBase;
        if (lead is >= 0 and < LeadCount && vowel is >= 0 and < VowelCount) return SyllableBase + (lead * VowelCount + vowel) * TrailCount;
        int syllable = first - SyllableBase, trail = second - TrailBase;
        if (syllable is >= 0 and < LeadCount * VowelCount * TrailCount && syllable % TrailCount == 0 && trail is > 0 and < TrailCount) return first + trail;
        return tables.Compositions.TryGetValue((first, second), out var composed) ? composed : null;
    }

    private sealed record Tables(Dictionary<int, int[]> Decompositions, Dictionary<(int First, int Second), int> Compositions, Dictionary<int, byte> Classes)
    {
        public int ClassOf(int codePoint) => Classes.GetValueOrDefault(codePoint);

        public static Tables Load()
        {
            var tables = new Tables([], [], []);
            using var stream = typeof(CanonicalComposition).Assembly.GetManifestResourceStream("CanonicalForms.txt") ?? throw new InvalidOperationException("The resource CanonicalForms.txt is missing from the build.");
            using var reader = new StreamReader(stream);
            while (reader.ReadLine() is { } line)
            {
                var words = line.Split(' ');
                if (words[0] == "#") continue;
                if (words[1] is "=" or ">") tables.AddDecomposition(Hex(words[0]), [.. words.Skip(2).Select(Hex)], composes: words[1] == "=");
                else tables.AddClass(words[0].Split('-'), byte.Parse(words[1], CultureInfo.InvariantCulture));
            }
            return tables;
        }

        private void AddDecomposition(int codePoint, int[] parts, bool composes)
        {
            Decompositions[codePoint] = parts;
            if (composes) Compositions[(parts[0], parts[1])] = codePoint;
        }

        private void AddClass(string[] range, byte combiningClass)
        {
            for (var codePoint = Hex(range[0]); codePoint <= Hex(range[^1]); codePoint++) Classes[codePoint] = combiningClass;
        }

        private static int Hex(string digits) => int.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
    }
}
