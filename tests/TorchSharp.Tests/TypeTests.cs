using TorchSharp.Utils;
using static TorchSharp.torch;

namespace TorchSharp.Tests;

/// <summary>The small types around tensors: scalars, ordered dictionaries, brain floats, component names.</summary>
public sealed class TypeTests
{
    [Fact]
    public void Scalar_OfEveryNumber_KeepsKindAndValue()
    {
        Scalar[] whole = [((byte)3).ToScalar(), ((sbyte)3).ToScalar(), ((short)3).ToScalar(), 3.ToScalar(), 3L.ToScalar()];
        Scalar[] real = [((Half)3).ToScalar(), new BFloat16(3).ToScalar(), 3f.ToScalar(), 3.0.ToScalar(), 3.001f.ToBFloat16Scalar()];
        Assert.All(whole, scalar => Assert.Equal((ScalarType.Int64, 3L, 3.0), (scalar.Type, scalar.ToInt64(), scalar.ToDouble())));
        Assert.All(real, scalar => Assert.Equal((ScalarType.Float64, 3f, 3), (scalar.Type, scalar.ToSingle(), scalar.ToInt32())));
        Assert.Equal(ScalarType.Bool, true.ToScalar().Type);
        using Scalar three = 3;
        Assert.Equal(((byte)3, (sbyte)3, (short)3, (Half)3, true), (three.ToByte(), three.ToSByte(), three.ToInt16(), three.ToHalf(),
            three.ToBoolean()));
        Assert.Equal(new BFloat16(3), three.ToBFloat16());
    }

    [Fact]
    public void OrderedDict_KeepsTheOrderOfItsKeys()
    {
        var dictionary = new OrderedDict<string, int> { { "b", 2 }, ("a", 1), new KeyValuePair<string, int>("c", 3) };
        dictionary["b"] = 5;
        dictionary["d"] = 4;
        Assert.Equal("b a c d", string.Join(' ', dictionary.Keys));
        Assert.Equal([5, 1, 3, 4], dictionary.values());
        Assert.Equal([5, 1, 3, 4], dictionary.Values);
        Assert.Equal("b a c d", string.Join(' ', dictionary.keys()));
        Assert.Equal(("a", 1), dictionary[1]);
        Assert.Equal(2, dictionary.IndexOf(("c", 3)));
        Assert.True(dictionary.TryGetValue("d", out int four) && four == 4 && !dictionary.TryGetValue("e", out _));
        Assert.True(dictionary.Contains(("a", 1)) && !dictionary.Contains(("a", 2)) && dictionary.Contains(new KeyValuePair<string,
            int>("a", 1)));
        dictionary[1] = ("x", 7);
        dictionary.Insert(0, ("first", 0));
        Assert.True(dictionary.Remove(("c",
            3)) && dictionary.Remove("d") && !dictionary.Remove("d") && !dictionary.Remove(new KeyValuePair<string, int>("x", 8)));
        dictionary.RemoveAt(0);
        var pairs = new (string, int)[2];
        dictionary.CopyTo(pairs, 0);
        Assert.Equal([("b", 5), ("x", 7)], pairs);
        var keyed = new KeyValuePair<string, int>[2];
        dictionary.CopyTo(keyed, 0);
        Assert.Equal(7, keyed[1].Value);
        IEnumerator<(string, int)> items = dictionary.items();
        Assert.True(items.MoveNext() && items.Current == ("b", 5));
        Assert.Throws<ArgumentException>(() => dictionary.Add("b", 1));
        dictionary.clear();
        Assert.Empty(dictionary.Keys);
    }

    [Fact]
    public void BFloat16_OrdersAndClassifies()
    {
        BFloat16 one = BFloat16.FromRawValue(0x3F80), two = (BFloat16)2.0;
        Assert.Equal(BFloat16.One, one);
        Assert.True(one.CompareTo(two) < 0 && one.CompareTo((object)one) == 0 && one.CompareTo(null) > 0);
        Assert.True(BFloat16.IsInfinity(BFloat16.NegativeInfinity) && BFloat16.IsNegativeInfinity(BFloat16.NegativeInfinity) && !BFloat16.IsFinite(BFloat16.PositiveInfinity));
        Assert.Equal((0.5f, 1f, 0f), ((one / two).ToSingle(), (two - one).ToSingle(), (two % one).ToSingle()));
        Assert.Equal("2.00", two.ToString("F2", System.Globalization.CultureInfo.InvariantCulture));
        Assert.Throws<ArgumentException>(() => one.CompareTo("one"));
        Assert.Equal(1.0078125f, 1f + (float)BFloat16.Epsilon);
    }

    [Fact]
    public void ComponentName_OfAField_IsItsAttributes()
    {
        System.Reflection.FieldInfo field = typeof(Named).GetField("_inner",
            System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Instance)!;
        Assert.Equal("outer", field.ComponentName());
        Assert.Equal(24, new long[] { 2, 3, 4 }.TotalSize());
    }

    [Fact]
    public void LayerNorm_Reset_IsTheIdentityAgain()
    {
        using DisposeScope scope = NewDisposeScope();
        using Modules.LayerNorm norm = nn.LayerNorm(2);
        using (no_grad()) norm.weight!.fill_(5);
        norm.reset_parameters();
        Verify.Values(norm.weight!, [2], [1, 1]);
        Verify.Values(norm.bias!, [2], [0, 0]);
        using Modules.ModuleList<Modules.LayerNorm> list = nn.ModuleList<Modules.LayerNorm>();
        list.extend([norm]);
        Assert.Single(list);
    }

    [Fact]
    public void MarkAsDisposed_MakesTheScopeForget()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor kept = ones(1);
        scope.MarkAsDisposed(kept);
        Assert.False(scope.Contains(kept));
        kept.Dispose();
    }

    private sealed class Named
    {
        [ComponentName(Name = "outer")] private readonly int _inner = 1;

        public int Inner => _inner;
    }
}
