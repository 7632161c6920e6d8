// Conversation -> prompt text, by the Jinja template that a model was trained with.
//
//   tokenizer_config.json or chat_template.jinja -> TemplateLexer -> TemplateParser -> statements   (once, at load)
//   messages + variables -> TemplateRun -> text                                                     (per conversation)
//
// The templates are programs written for Python's Jinja2 with the settings of transformers. What this interpreter does,
// it does as they do; what it does not do is an error with the name of the thing and its line, never other text.
using System.Text.Json;
using Sapo.Core;
using Sapo.Rollout.Tokenization.Jinja;

namespace Sapo.Rollout.Tokenization;

/// <summary>A model's chat template. Immutable; safe for use by many threads.</summary>
public sealed class ChatTemplate
{
    private const string Remedy = "Render the prompt elsewhere and give it as text, or use another template";
    private readonly IReadOnlyList<Statement> _statements;
    private readonly IReadOnlyDictionary<string, string> _namedTokens;
    private readonly TimeProvider _clock;
    private readonly string _name;

    private ChatTemplate(string source, string name, IReadOnlyDictionary<string, string> namedTokens, TimeProvider clock)
    {
        (_name, _namedTokens, _clock, Source) = (name, namedTokens, clock, source);
        _statements = Guarded(() => TemplateParser.Parse(source));
    }

    /// <summary>The template as written.</summary>
    public string Source { get; }

    /// <summary>
    /// Loads a folder's template: chat_template.jinja if there is one (as transformers does), else chat_template of
    /// tokenizer_config.json; of several named templates there, the one called default.
    /// </summary>
    /// <param name="folder">A Hugging Face model folder.</param>
    /// <param name="clock">Tells templates that print the date what time it is; null for the system's clock.</param>
    /// <exception cref="UserErrorException">There is no template, or it is broken or uses what is not supported.</exception>
    public static ChatTemplate Load(string folder, TimeProvider? clock = null)
    {
        var file = Path.Combine(folder, "chat_template.jinja");
        var configuration = Path.Combine(folder, "tokenizer_config.json");
        var tokens = NamedTokens.ReadTexts(folder);
        if (File.Exists(file)) return Parse(File.ReadAllText(file), file, tokens, clock);
        var source = File.Exists(configuration) ? JsonValue.Read(configuration, FindTemplate) : null;
        if (source is null) throw new UserErrorException($"{folder} has no chat template", "chat_template.jinja, or chat_template in tokenizer_config.json", "Use a chat model, or give prompts as text");
        return Parse(source, configuration + ": chat_template", tokens, clock);
    }

    /// <summary>A template from its text.</summary>
    /// <param name="source">The template.</param>
    /// <param name="name">Named in errors.</param>
    /// <param name="namedTokens">Variables such as bos_token and eos_token.</param>
    /// <param name="clock">Tells templates that print the date what time it is; null for the system's clock.</param>
    /// <exception cref="UserErrorException">The template is broken or uses what is not supported.</exception>
    public static ChatTemplate Parse(string source, string name, IReadOnlyDictionary<string, string> namedTokens, TimeProvider? clock = null) =>
        new(source, name, namedTokens, clock ?? TimeProvider.System);

    /// <summary>The text of a conversation.</summary>
    /// <param name="messages">The messages, first to last.</param>
    /// <param name="addGenerationPrompt">Whether the text ends with what begins the assistant's next turn.</param>
    /// <param name="variables">
    /// What else the template may read, such as <c>enable_thinking</c> or <c>tools</c>: JSON values by name. Tools and
    /// documents are none unless given here.
    /// </param>
    /// <exception cref="UserErrorException">The template refuses the conversation, or something in it is not supported.</exception>
    public string Render(IReadOnlyList<ChatMessage> messages, bool addGenerationPrompt, IReadOnlyDictionary<string, JsonElement>? variables = null) => Guarded(() =>
    {
        var scope = Globals.NewScope(_clock);
        foreach (var (role, text) in _namedTokens) scope.Set(role, text);
        scope.Set("tools", null);
        scope.Set("documents", null);
        scope.Set("messages", new TemplateList([.. messages.Select(message => message.Members)]));
        scope.Set("add_generation_prompt", addGenerationPrompt);
        foreach (var (variable, value) in variables ?? new Dictionary<string, JsonElement>(StringComparer.Ordinal)) scope.Set(variable, JsonText.ToValue(value));
        return TemplateRun.Render(_statements, scope);
    });

    private static string? FindTemplate(JsonValue root)
    {
        if (root.Find("chat_template") is not { } value) return null;
        if (value.Element.ValueKind != JsonValueKind.Array) return value.AsString();
        foreach (var named in value.Items())
            if (named.Member("name").AsString() == "default") return named.Member("template").AsString();
        throw value.Error("there are several templates and none is called default", "one called default");
    }

    private T Guarded<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (TemplateException error) when (error.IsRefusal)
        {
            throw new UserErrorException($"{_name}: the template refuses this conversation: {error.Message}", null, "Change the messages", error);
        }
        catch (TemplateException error)
        {
            throw new UserErrorException($"{_name}, line {error.Line}: {error.Message}", null, Remedy, error);
        }
    }
}
