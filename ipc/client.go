package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tokend/providers/token"
)

// A Client asks the daemon at Socket. Its methods have the daemon's own
// signatures and errors. They also return ErrNoDaemon if no daemon answers, and
// ErrDenied, before anything is sent, if the socket's server is neither root nor
// this user. It may be used concurrently.
type Client struct {
	// Socket is the socket's absolute path, on Windows the pipe's name.
	Socket string
	// Start, if set, starts a daemon when none listens there. If it returns no
	// error, the request is made once more.
	Start func(ctx context.Context) error
	// Deadline, if set, ends every wait for the daemon, as that of a context does.
	// A context starts a timer, which costs a program that has just started 0.03 ms.
	// Where neither has a deadline, a wait ends after two minutes.
	Deadline time.Time
	// Warn, if set, shows a person the warnings that come with tokens.
	Warn func(text string)
}

// Get returns a token of the profile or resource (NAME/RESOURCE) or, without a name, of
// the one whose hosts cover q.URL. Its times have whole seconds; Skew does not cross the
// socket.
func (c *Client) Get(ctx context.Context, name string, q token.Query) (g token.Grant, err error) {
	profile, resource, err := cutResource(name)
	if err != nil {
		return token.Grant{}, err
	}
	k := call{method: "GET", path: TokenPath, name: profile, query: encodeQuery(q, resource), warn: c.Warn != nil}
	if name == "" && q.URL != "" {
		k.path = AnyTokenPath
	}
	a, err := c.open(ctx, k)
	if err != nil {
		return token.Grant{}, err
	}
	defer func() { _ = a.conn.Close() }()
	body, err := a.body(ctx)
	if q.Trace != nil {
		q.Trace.Take(traceIn(body))
	}
	if err != nil {
		return token.Grant{}, err
	}
	if err := readGrant(body, &g); err != nil {
		return token.Grant{}, c.nonsense(err)
	}
	if g.Warning != "" && c.Warn != nil {
		c.Warn(g.Warning)
	}
	g.Warning = ""
	return g, nil
}

// cutResource takes NAME/RESOURCE apart.
func cutResource(name string) (profile, resource string, err error) {
	profile, resource, ok := strings.Cut(name, "/")
	if ok {
		err = token.CheckName(resource)
	}
	return profile, resource, err
}

// Invalidate has the daemon drop t if it is still a token of the profile or resource
// (NAME/RESOURCE); the zero Secret stands for the current tokens. Without a name the
// daemon drops t from the profile it belongs to.
func (c *Client) Invalidate(ctx context.Context, name string, t token.Secret) error {
	profile, resource, err := cutResource(name)
	if err != nil {
		return err
	}
	body := map[string]string{"access_token": t.Reveal(), "resource": resource}
	maps.DeleteFunc(body, func(_, text string) bool { return text == "" })
	k := call{method: "POST", path: TokenPath, name: profile, suffix: InvalidateSuffix, body: body}
	if name == "" && !t.IsZero() {
		k.path = InvalidatePath
	}
	return c.do(ctx, k)
}

// Exchange trades the profile's token at a registry, one of the profile's hosts,
// for the refresh token that the registry's clients log in with.
func (c *Client) Exchange(ctx context.Context, name, registry string) (token.Secret, error) {
	name, _, _ = strings.Cut(name, "/") // the registry says which resource
	answer, err := ask[Exchanged](ctx, c, call{method: "POST", path: ExchangePath, name: name, body: Exchange{Registry: registry}})
	if err == nil && answer.RefreshToken == "" {
		err = c.nonsense(errors.New("an answer without a refresh token"))
	}
	return token.NewSecret(answer.RefreshToken), err
}

// Sign signs one request with the profile's key. Send the request to Signed.URL,
// which may differ from the URL you asked for.
func (c *Client) Sign(ctx context.Context, name string, r token.Request) (token.Signed, error) {
	if err := CheckRequest(r); err != nil {
		return token.Signed{}, err
	}
	answer, err := ask[signedAnswer](ctx, c, call{method: "POST", path: SignPath, name: name, body: r})
	if err != nil {
		return token.Signed{}, err
	}
	signed, err := answer.signed()
	if err != nil {
		return token.Signed{}, c.nonsense(err)
	}
	return signed, nil
}

// Verify has the daemon verify what a caller presented. A token that is not good
// is a Verdict, not an error. Numbers among the claims are json.Number.
func (c *Client) Verify(ctx context.Context, name string, p token.Presented) (token.Verdict, error) {
	if err := CheckVerification(p); err != nil {
		return token.Verdict{}, err
	}
	body := map[string]any{"token": p.Token.Reveal(), "consent_token": p.Consent.Reveal(), "remote": p.Remote}
	maps.DeleteFunc(body, func(_ string, value any) bool { return value == "" || value == false })
	answer, err := ask[verdictAnswer](ctx, c, call{method: "POST", path: VerifyPath, name: name, body: body})
	if err != nil {
		return token.Verdict{}, err
	}
	if answer.Valid == nil {
		return token.Verdict{}, c.nonsense(errors.New("an answer without a verdict"))
	}
	answer.Verdict.Valid = *answer.Valid
	return answer.Verdict, nil
}

// Profile returns the state of one profile, with all of its resources.
func (c *Client) Profile(ctx context.Context, name string) (token.ProfileStatus, error) {
	name, _, _ = strings.Cut(name, "/")
	return ask[token.ProfileStatus](ctx, c, call{method: "GET", path: ProfilePath, name: name})
}

// Digests returns SHA-256 digests of the profile's secrets, in hexadecimal, by field.
func (c *Client) Digests(ctx context.Context, name string) (map[string]string, error) {
	return ask[map[string]string](ctx, c, call{method: "GET", path: ProfilePath, name: name, suffix: DigestSuffix})
}

// Status returns the state of the daemon and of all profiles.
func (c *Client) Status(ctx context.Context) (token.Status, error) {
	return ask[token.Status](ctx, c, call{method: "GET", path: StatusPath})
}

// Providers lists the kinds of profiles.
func (c *Client) Providers(ctx context.Context) ([]token.Provider, error) {
	list, err := ask[ProviderList](ctx, c, call{method: "GET", path: ProvidersPath})
	return list.Providers, err
}

// Add makes a new profile.
func (c *Client) Add(ctx context.Context, p token.CreateProfile) (token.Created, error) {
	return ask[token.Created](ctx, c, call{method: "POST", path: ProfilesPath, body: newProfileBody(p)})
}

// Rotate replaces the credential of the profile p.Name.
func (c *Client) Rotate(ctx context.Context, p token.CreateProfile) (token.Created, error) {
	return ask[token.Created](ctx, c, call{method: "POST", path: ProfilePath, name: p.Name, suffix: RotateSuffix, body: newProfileBody(p)})
}

// ProfileText returns the text of a profile's file.
func (c *Client) ProfileText(ctx context.Context, name string) (token.ProfileText, error) {
	return ask[token.ProfileText](ctx, c, call{method: "GET", path: ProfilePath, name: name, suffix: TextSuffix})
}

// Edit puts another text in place of the file of the profile p.Name.
func (c *Client) Edit(ctx context.Context, p token.CreateProfile) (token.Created, error) {
	return ask[token.Created](ctx, c, call{method: "PUT", path: ProfilePath, name: p.Name, suffix: TextSuffix, body: newProfileBody(p)})
}

// Remove removes the profile and its secrets.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.do(ctx, call{method: "DELETE", path: ProfilePath, name: name})
}

// Rename gives a profile and its secrets another name.
func (c *Client) Rename(ctx context.Context, name, to string) error {
	return c.do(ctx, call{method: "POST", path: ProfilePath, name: name, suffix: RenameSuffix, body: Renaming{to}})
}

// Reload has the daemon read its configuration again. ErrInvalid names the
// files that are bad; their profiles stay as they were.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, call{method: "POST", path: ReloadPath})
}

// Doctor has the daemon check its setup.
func (c *Client) Doctor(ctx context.Context) (token.Report, error) {
	return ask[token.Report](ctx, c, call{method: "GET", path: DoctorPath})
}

// Keystore returns the state of the keystore.
func (c *Client) Keystore(ctx context.Context) (token.KeystoreStatus, error) {
	return ask[token.KeystoreStatus](ctx, c, call{method: "GET", path: KeystorePath})
}

// Unlock asks the system to unlock the keystore. ErrLocked: its prompt waits for
// an answer.
func (c *Client) Unlock(ctx context.Context) error {
	return c.do(ctx, call{method: "POST", path: UnlockPath})
}

// Migrate moves all secrets to another keystore, or changes nothing.
func (c *Client) Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	return ask[token.Migrated](ctx, c, call{method: "POST", path: MigratePath, body: to})
}

// A call is a request of the protocol.
type call struct {
	method string
	path   string // if it ends in a slash, name and suffix follow
	name   string
	suffix string
	query  string
	body   any  // sent as JSON
	warn   bool // WarnHeader
}

// request writes k in HTTP/1.0, whose answers end with their length or with the
// connection, never in chunks. Its parts come from this package, were checked or are
// escaped as URLs demand, so none can end a line.
func (k call) request(by token.Asker) ([]byte, error) {
	path := k.path
	if strings.HasSuffix(path, "/") {
		if err := token.CheckName(k.name); err != nil {
			return nil, err
		}
		path += k.name + k.suffix
	}
	if k.query != "" {
		path += "?" + k.query
	}
	var body []byte
	if k.body != nil {
		var err error
		if body, err = PlainJSON(k.body); err != nil {
			return nil, invalid("", "the request cannot be sent: %v", err)
		}
	}
	if len(body) > MaxBody {
		return nil, invalid("", "the request has %d bytes, tokend takes %d", len(body), MaxBody)
	}
	head := k.method + " " + path + " HTTP/1.0\r\nHost: tokend\r\nConnection: close\r\nAccept: application/json\r\n"
	if k.method == "POST" || k.method == "PUT" {
		head += "Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	if by.Key != "" && !strings.ContainsFunc(by.Key, func(r rune) bool { return r < ' ' || r > '~' }) {
		head += AskerHeader + ": " + strconv.Itoa(by.Again) + " " + by.Key + "\r\n"
	}
	if k.warn {
		head += WarnHeader + ": true\r\n"
	}
	return append([]byte(head+"\r\n"), body...), nil
}

// ask makes a call and reads its answer.
func ask[T any](ctx context.Context, c *Client, k call) (into T, err error) {
	a, err := c.open(ctx, k)
	if err != nil {
		return into, err
	}
	defer func() { _ = a.conn.Close() }()
	err = a.decode(ctx, &into)
	return into, err
}

// do makes a call that has no result.
func (c *Client) do(ctx context.Context, k call) error {
	_, err := ask[struct{}](ctx, c, k)
	return err
}

// open makes a call over a connection of its own, and reads the head of the answer.
func (c *Client) open(ctx context.Context, k call) (*answer, error) {
	request, err := k.request(token.AskerOf(ctx))
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	a, err := c.begin(ctx, conn, request)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return a, nil
}

// begin sends a request over conn and reads the head of its answer.
func (c *Client) begin(ctx context.Context, conn connection, request []byte) (*answer, error) {
	defer context.AfterFunc(ctx, conn.interrupt)()
	// A server that refuses may stop reading early. Its answer says more than
	// the failed write.
	_, writeErr := conn.Write(request)
	a := &answer{client: c, conn: conn, in: bufio.NewReaderSize(conn, maxLine), length: -1}
	err := a.readHead()
	switch {
	case err == nil:
		return a, nil
	case writeErr != nil:
		err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, writeErr)
	}
	return nil, c.failed(ctx, err)
}

// failed is the error for a call that was not answered.
func (c *Client) failed(ctx context.Context, err error) error {
	var timed interface{ Timeout() bool }
	cause := ctx.Err()
	if cause == nil && errors.As(err, &timed) && timed.Timeout() {
		cause = context.DeadlineExceeded
	}
	switch known, isKnown := errors.AsType[*token.Error](err); {
	case isKnown:
		return known
	case cause != nil:
		return fmt.Errorf("waiting for tokend at %s: %w", c.Socket, cause)
	case isAbsent(err):
		return &token.Error{Code: token.ErrNoDaemon, Message: "no tokend answers at " + c.Socket, Cause: err}
	case errors.Is(err, fs.ErrPermission):
		return &token.Error{Code: token.ErrDenied, Message: "no permission to connect to " + c.Socket, Cause: err}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &token.Error{Code: token.ErrNoDaemon, Message: "tokend at " + c.Socket + " went away without a whole answer"}
	}
	return c.nonsense(err)
}

// A connection is one to the daemon.
type connection interface {
	io.ReadWriteCloser
	// interrupt ends every read and write, now and later. It may be called from
	// any goroutine.
	interrupt()
	// timeout bounds each read and write from now on; 0 lifts the bound.
	timeout(wait time.Duration)
}

// patience is how long a call may wait. The kernel takes zero for no bound.
func (c *Client) patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok || !c.Deadline.IsZero() && c.Deadline.Before(deadline) {
		deadline = c.Deadline
	}
	if deadline.IsZero() {
		return 2 * time.Minute
	}
	return max(time.Until(deadline), time.Millisecond)
}

func (c *Client) connect(ctx context.Context) (connection, error) {
	if ctx.Err() != nil {
		return nil, c.failed(ctx, ctx.Err())
	}
	conn, err := dial(c.Socket, c.patience(ctx))
	if err != nil && c.Start != nil && isAbsent(err) {
		ctx, cancel := context.WithTimeout(ctx, c.patience(ctx))
		defer cancel()
		if err = c.Start(ctx); err == nil {
			conn, err = dial(c.Socket, c.patience(ctx))
		}
	}
	if err != nil {
		return nil, c.failed(ctx, fmt.Errorf("connecting: %w", err))
	}
	if err := checkServer(conn, c.Socket); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// isAbsent reports whether err means that no daemon listens.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// refusal is the error in the server's answer.
func (c *Client) refusal(status int, body []byte) error {
	var r Refusal
	if err := json.Unmarshal(body, &r); err != nil || r.Error == nil || r.Error.Code == "" {
		return c.nonsense(fmt.Errorf("HTTP status %d without an error that tokend would send", status))
	}
	return r.Error
}

// traceIn returns the steps in an answer, be it a token or a refusal.
func traceIn(body []byte) []token.Step {
	var answer struct {
		Trace []token.Step `json:"trace"`
	}
	_ = json.Unmarshal(body, &answer) // the caller of traceIn reads the rest of it and finds the error
	return answer.Trace
}

// nonsense is the error for an answer that tokend does not send.
func (c *Client) nonsense(err error) error {
	return &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf("not tokend's answer at %s: %v", c.Socket, err), Cause: err}
}
