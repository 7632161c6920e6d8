namespace Sapo.Rollout.Decoding;

/// <summary>
/// One policy version, ready to decode. It works on numbered rows, each the keys and values of one sequence. Every
/// method runs synchronously on the thread that owns the session. One contract-test suite holds all implementations to this:
/// what a row yields depends on its own tokens and inputs alone, never on its number or on the rows beside it.
/// </summary>
internal interface IDecodeSession : IDisposable
{
    /// <summary>The version whose weights it runs.</summary>
    PolicyVersion Version { get; }

    /// <summary>Fewest rows of a <see cref="Decode"/> for which results do not depend on their number; the scheduler adds an idle row where there are fewer.</summary>
    int MinimumRows { get; }

    /// <summary>
    /// Whether rows must begin together: then a row that is done stays in its place as an idle one, and new rows begin when
    /// all are done. Otherwise a free row is filled at once.
    /// </summary>
    bool StartsRowsTogether { get; }

    /// <summary>Tokens whose keys and values were computed without being sampled from, so far.</summary>
    long PrefilledTokens { get; }

    /// <summary>Computes the keys and values of tokens without sampling. What the row holds behind them is lost, and there must be room for one position more.</summary>
    /// <param name="row">Where they go.</param>
    /// <param name="tokenIds">The tokens, at least one.</param>
    /// <param name="position">Position of the first of them; the row already holds those before it.</param>
    void Prefill(int row, ReadOnlySpan<int> tokenIds, int position);

    /// <summary>Makes the first positions of one row those of another.</summary>
    /// <param name="from">The row that is read.</param>
    /// <param name="to">The row that is overwritten.</param>
    /// <param name="length">Number of positions.</param>
    void CopyRow(int from, int to, int length);

    /// <summary>
    /// One step of neighbouring rows: each feeds one token and draws the next. Reads the inputs and writes the outputs of
    /// <see cref="RowBuffers"/> at the rows' own indices.
    /// </summary>
    /// <param name="firstRow">First row.</param>
    /// <param name="rowCount">Number of rows, at least 1.</param>
    /// <param name="truncate">True when some row has top-k, top-p or min-p on: kept ids are written too.</param>
    void Decode(int firstRow, int rowCount, bool truncate);
}
