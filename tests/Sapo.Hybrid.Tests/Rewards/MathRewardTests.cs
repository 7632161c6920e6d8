using System.Text;
using Sapo.Hybrid.Rewards.Mathematics;

namespace Sapo.Hybrid.Tests.Rewards;

public sealed class MathRewardTests
{
    private const int Seed = 99;

    [Theory]
    [InlineData("1234.5", "1,234.50")]
    [InlineData("3/4", "\\frac{9}{12}")]
    [InlineData("60", "60 km/h")]
    [InlineData("60", "60\\text{ km}/\\text{h}")]
    [InlineData("9.8", "9.8\\,\\text{m/s}^2")]
    [InlineData("12", "12cm")]
    [InlineData("30", "30^\\circ\\text{C}")]
    [InlineData("1200", "1.2 x 10^3")]
    [InlineData("1/6", "0.1\\overline{6}")]
    [InlineData("-3/2", "-1 1/2")]
    [InlineData("3/2", "1½")]
    [InlineData("\\sqrt{50}", "5\\sqrt 2")]
    [InlineData("\\frac{1}{1+\\sqrt{2}}", "\\sqrt{2}-1")]
    [InlineData("2^{1/3}", "\\sqrt[3]{2}")]
    [InlineData("\\frac{\\pi}{3}", "\\frac\\pi3")]
    [InlineData("\\log_4 8", "3/2")]
    [InlineData("x^2+3x+2", "(x+1)(x+2)")]
    [InlineData("\\frac{1}{x-1}-\\frac{1}{x+1}", "\\frac{2}{x^2-1}")]
    [InlineData("2x+y=3", "y = 3 - 2x")]
    [InlineData("1 \\text{ and } 2", "2, 1")]
    [InlineData("(0, \\infty)", "(0,∞)")]
    [InlineData("No", "\\text{no.}")]
    [InlineData("75\\%", "0.75")]
    [InlineData("B", "(B)")]
    [InlineData("The total is 5.\n#### 5", "5")]
    [InlineData("We get $\\boxed{\\frac12}$.", "0.5")]
    public void IsRight_SameAnswer_IsRight(string gold, string answer)
    {
        Assert.True(Judge(gold, answer));
        Assert.True(MathReward.IsRight(gold, $"So #### {answer}", AnswerForm.Any));
    }

    [Theory]
    [InlineData("-5", "x = 5 \\text{ or } x = -5")]
    [InlineData("3", "x=5, y=3")]
    [InlineData("42", "42, 42")]
    [InlineData("6", "2 3")]
    [InlineData("5", "\\pm 5")]
    [InlineData("0", "x-x")]
    [InlineData("0", "\\infty-\\infty")]
    [InlineData("1", "\\frac{0}{0}")]
    [InlineData("2", "2xy")]
    [InlineData("2", "2 xy")]
    [InlineData("2xy", "2ab")]
    [InlineData("Monday", "Dynamo")]
    [InlineData("\\sqrt{2}", "1.4142135623730951")]
    [InlineData("\\pi", "3.141592653589793")]
    [InlineData("x=5", "y=5")]
    [InlineData("(1,2)", "\\{1,2\\}")]
    [InlineData("(1,2)", "[1,2)")]
    [InlineData("\\{1,2\\}", "\\{1,1\\}")]
    [InlineData("75", "0.75")]
    [InlineData("1234", "12,34")]
    [InlineData("42", "")]
    public void IsRight_OtherAnswer_IsWrong(string gold, string answer) => Assert.False(Judge(gold, answer));

    [Theory]
    [InlineData("2x+3", "The answer is 2x + 3.", true)]
    [InlineData("2", "The answer is 2x + 3.", false)]
    [InlineData("12", "The answer is therefore 12.", true)]
    [InlineData("3/4", "Answer: \\frac{3}{4}", true)]
    [InlineData("5", "The answer is x = 5.", true)]
    [InlineData("0.7", "The answer is 70\\%.", true)]
    [InlineData("42", "The answer is 42 or 43.", false)]
    [InlineData("40", "The answer is 40-44.", false)]
    [InlineData("42", "The answer is **42**.", true)]
    [InlineData("42", "Answer the question. It is 42.", false)]
    [InlineData("7", "the ANSWER IS: $7$", true)]
    public void IsRight_InASentence_TakesWhatTheSentenceSays(string gold, string completion, bool expected) =>
        Assert.Equal(expected, MathReward.IsRight(gold, completion, AnswerForm.Sentence));

    [Theory]
    [InlineData("<think>\\boxed{1}</think> so \\boxed{2}", "2")]
    [InlineData("<think>\\boxed{1} and on and on", null)]
    [InlineData("\\boxed{3} #### 4", "3")]
    [InlineData("\\boxed{3 #### 4", " 4")]
    [InlineData("The answer is 5.", "5")]
    [InlineData("nothing", null)]
    public void Extract_AnyForm_TakesTheClearestMark(string completion, string? expected) =>
        Assert.Equal(expected, AnswerExtraction.Extract(completion, AnswerForm.Any));

    [Fact]
    public void IsRight_RandomMarkup_NeverThrowsAndIsReflexive()
    {
        string[] pieces = ["\\frac", "{", "}", "(", ")", "[", "]", "\\{", "\\}", "1", "2.5", "x", "^", "_", "\\sqrt", ",", "=", "-", "+", "/", "!", "\\text{", " or ", "\\pi", "%", "$", "\\", "e", ".", "\\log", "\\over", "\\infty", "\\cup", "\\boxed{", "½", "\uD800", "\0", "|"];
        var random = new Random(Seed);
        for (var round = 0; round < 3000; round++)
        {
            var text = new StringBuilder();
            for (var i = random.Next(25); i > 0; i--) text.Append(pieces[random.Next(pieces.Length)]);
            foreach (var form in Enum.GetValues<AnswerForm>())
            {
                MathReward.IsRight("42", text.ToString(), form);
                MathReward.IsRight(text.ToString(), text.ToString(), form);
            }
            MathReward.IsRight(text.ToString(), "\\boxed{42}", AnswerForm.Boxed);
        }
    }

    [Theory]
    [InlineData("\\sqrt{9^{300}+1}")]
    [InlineData("(a+b+c+d+f+g+h)^{12}")]
    [InlineData("1.01^{2000}")]
    [InlineData("(1/7+x)(1/11+y)(1/13+z)(1/17+u)(1/19+v)(1/23+w)(1/29+s)")]
    [InlineData("500!/499!")]
    [InlineData("\\binom{500}{250}")]
    public void IsRight_ManyTimesACostlyExpression_Ends(string expression)
    {
        var text = expression;
        while (text.Length + expression.Length + 1 < 1900) text += "+" + expression;
        Assert.False(Judge("42", text));
        Assert.False(Judge(text + "+1", text));
    }

    private static bool Judge(string gold, string answer) => MathReward.IsRight(gold, $"Hence $\\boxed{{{answer}}}$.", AnswerForm.Boxed);
}
