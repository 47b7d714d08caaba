package ipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strconv"
	"syscall"

	"tokend/providers/token"
)

// A Client asks the daemon at Socket. Its methods have the daemon's own
// signatures and errors; on top of those they return ErrNoDaemon if nobody
// answers, and ErrDenied before anything is sent if the socket is served by
// somebody who is neither root nor this user. It may be used concurrently.
type Client struct {
	// Socket is the socket's absolute path, on Windows the pipe's name.
	Socket string
	// Start, if set, is called when nobody listens there, to have somebody do
	// so; the request is made once more if that gives no error.
	Start func(ctx context.Context) error
}

// Get returns a token of the profile, or without a name of the profile that
// claims q.URL. Its times have whole seconds; Skew does not cross the socket.
func (c *Client) Get(ctx context.Context, name string, q token.Query) (token.Grant, error) {
	path := AnyTokenPath
	if name != "" || q.URL == "" {
		var err error
		if path, err = profilePath(TokenPath, name, ""); err != nil {
			return token.Grant{}, err
		}
	}
	if query := encodeQuery(q); query != "" {
		path += "?" + query
	}
	var answer tokenAnswer
	status, body, err := c.roundTrip(ctx, request("GET", path, nil))
	if err == nil && q.Trace != nil {
		q.Trace.Take(traceIn(body))
	}
	if err == nil {
		err = c.understand(status, body, &answer)
	}
	if err != nil {
		return token.Grant{}, err
	}
	g := answer.grant()
	switch {
	case g.Secret.IsZero():
		return token.Grant{}, c.nonsense(errors.New("an answer without a token"))
	case g.Present.Check() != nil:
		return token.Grant{}, c.nonsense(g.Present.Check())
	}
	return g, nil
}

// Invalidate has the daemon drop t, if that is still a token of the profile;
// the zero Secret stands for whatever is current. Without a name t is dropped
// from whichever profile it is of.
func (c *Client) Invalidate(ctx context.Context, name string, t token.Secret) error {
	path := InvalidatePath
	if name != "" || t.IsZero() {
		var err error
		if path, err = profilePath(TokenPath, name, InvalidateSuffix); err != nil {
			return err
		}
	}
	body, err := encodeInvalidation(t)
	if err != nil {
		return err
	}
	return c.ask(ctx, "POST", path, body, nil)
}

// Exchange gets what a registry, one of the profile's hosts, gives for the
// profile's token: the refresh token that its clients log in with.
func (c *Client) Exchange(ctx context.Context, name, registry string) (token.Secret, error) {
	path, err := profilePath(ExchangePath, name, "")
	if err != nil {
		return token.Secret{}, err
	}
	body, err := json.Marshal(Exchange{Registry: registry})
	if err != nil {
		return token.Secret{}, err
	}
	var answer Exchanged
	if err := c.ask(ctx, "POST", path, body, &answer); err != nil {
		return token.Secret{}, err
	}
	if answer.RefreshToken == "" {
		return token.Secret{}, c.nonsense(errors.New("an answer without a refresh token"))
	}
	return token.NewSecret(answer.RefreshToken), nil
}

// Sign signs one request with the profile's key. The request must then go to
// Signed.URL, whatever URL was asked for.
func (c *Client) Sign(ctx context.Context, name string, r token.Request) (token.Signed, error) {
	path, err := profilePath(SignPath, name, "")
	if err != nil {
		return token.Signed{}, err
	}
	body, err := encodeRequest(r)
	if err != nil {
		return token.Signed{}, err
	}
	var answer signedAnswer
	if err := c.ask(ctx, "POST", path, body, &answer); err != nil {
		return token.Signed{}, err
	}
	signed := answer.signed()
	if err := checkSigned(signed); err != nil {
		return token.Signed{}, c.nonsense(err)
	}
	return signed, nil
}

// Verify has the daemon judge a token that somebody presented, by itself or,
// if remote, by asking the issuer's own service. A token that is not good is a
// Verdict, not an error. Numbers among the claims are json.Number.
func (c *Client) Verify(ctx context.Context, name string, raw token.Secret, remote bool) (token.Verdict, error) {
	path, err := profilePath(VerifyPath, name, "")
	if err != nil {
		return token.Verdict{}, err
	}
	body, err := encodeVerification(raw, remote)
	if err != nil {
		return token.Verdict{}, err
	}
	var answer verdictAnswer
	if err := c.ask(ctx, "POST", path, body, &answer); err != nil {
		return token.Verdict{}, err
	}
	if answer.Valid == nil {
		return token.Verdict{}, c.nonsense(errors.New("an answer without a verdict"))
	}
	answer.Verdict.Valid = *answer.Valid
	return answer.Verdict, nil
}

// Profile tells of one profile.
func (c *Client) Profile(ctx context.Context, name string) (token.ProfileStatus, error) {
	var status token.ProfileStatus
	path, err := profilePath(ProfilePath, name, "")
	if err != nil {
		return status, err
	}
	err = c.ask(ctx, "GET", path, nil, &status)
	return status, err
}

// Status tells of the daemon and all profiles.
func (c *Client) Status(ctx context.Context) (st token.Status, err error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return st, err
	}
	defer func() { _ = conn.Close() }()
	var refusal error
	err = c.hear(ctx, conn, request("GET", StatusPath, nil), func(status int, h head, br *bufio.Reader) error {
		if status/100 != 2 {
			body, err := h.body(br)
			if err == nil {
				refusal = c.refusal(status, body)
			}
			return err
		}
		body, err := h.stream(br)
		if err != nil {
			return err
		}
		return unexpected(decodeStatus(body, &st))
	})
	if err == nil {
		err = refusal
	}
	return st, err
}

// Providers lists the kinds of profiles there can be.
func (c *Client) Providers(ctx context.Context) ([]token.Provider, error) {
	var list ProviderList
	err := c.ask(ctx, "GET", ProvidersPath, nil, &list)
	return list.Providers, err
}

// Add makes a new profile.
func (c *Client) Add(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	if err := CheckName(a.Name); err != nil {
		return token.Created{}, err
	}
	return c.hand(ctx, ProfilesPath, a)
}

// Rotate gives the profile a.Name a new credential.
func (c *Client) Rotate(ctx context.Context, a token.CreateProfile) (token.Created, error) {
	path, err := profilePath(ProfilePath, a.Name, RotateSuffix)
	if err != nil {
		return token.Created{}, err
	}
	return c.hand(ctx, path, a)
}

// Remove removes the profile and its secrets.
func (c *Client) Remove(ctx context.Context, name string) error {
	path, err := profilePath(ProfilePath, name, "")
	if err != nil {
		return err
	}
	return c.ask(ctx, "DELETE", path, nil, nil)
}

// Reload has the daemon read its configuration again. ErrInvalid names the
// files that are bad; what was in force before them stays in force.
func (c *Client) Reload(ctx context.Context) error {
	return c.ask(ctx, "POST", ReloadPath, nil, nil)
}

// Doctor has the daemon look whether all is as it should be.
func (c *Client) Doctor(ctx context.Context) (token.Report, error) {
	var found token.Report
	err := c.ask(ctx, "GET", DoctorPath, nil, &found)
	return found, err
}

// Keystore tells of the keystore in force.
func (c *Client) Keystore(ctx context.Context) (token.KeystoreStatus, error) {
	var status token.KeystoreStatus
	err := c.ask(ctx, "GET", KeystorePath, nil, &status)
	return status, err
}

// Unlock has the system asked to unlock the keystore. ErrLocked: its prompt
// waits for an answer.
func (c *Client) Unlock(ctx context.Context) error {
	return c.ask(ctx, "POST", UnlockPath, nil, nil)
}

// Migrate moves all secrets to another keystore, or changes nothing.
func (c *Client) Migrate(ctx context.Context, to token.KeystoreChoice) (token.Migrated, error) {
	var done token.Migrated
	body, err := json.Marshal(to)
	if err != nil {
		return done, err
	}
	err = c.ask(ctx, "POST", MigratePath, body, &done)
	return done, err
}

func (c *Client) hand(ctx context.Context, path string, a token.CreateProfile) (token.Created, error) {
	var added token.Created
	body, err := encodeAddition(a)
	if err != nil {
		return added, invalid("settings", "the settings cannot be sent: %v", err)
	}
	err = c.ask(ctx, "POST", path, body, &added)
	return added, err
}

func profilePath(before, name, after string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return before + url.PathEscape(name) + after, nil
}

// ask sends one request and reads the answer into into, if that is not nil.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, into any) error {
	if len(body) > MaxBody {
		return invalid("", "the request has %d bytes, tokend takes %d", len(body), MaxBody)
	}
	status, answer, err := c.roundTrip(ctx, request(method, path, body))
	if err != nil {
		return err
	}
	return c.understand(status, answer, into)
}

// understand reads an answer into into, if that is not nil.
func (c *Client) understand(status int, answer []byte, into any) error {
	if status/100 != 2 {
		return c.refusal(status, answer)
	}
	if into == nil {
		return nil
	}
	if a, ok := into.(*tokenAnswer); ok {
		if *a, ok = quickAnswer(answer); ok {
			return nil
		}
	}
	if err := decode(answer, into); err != nil {
		return c.nonsense(err)
	}
	return nil
}

// request writes an HTTP/1.1 request. Its parts come from this package, or
// escaped as URLs demand, and cannot end a line.
func request(method, path string, body []byte) []byte {
	b := make([]byte, 0, 256+len(path)+len(body))
	b = append(b, method+" "+path+" HTTP/1.1\r\nHost: tokend\r\nConnection: close\r\nAccept: application/json\r\n"...)
	if method == "POST" {
		b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, body...)
}

func (c *Client) roundTrip(ctx context.Context, request []byte) (status int, body []byte, err error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = conn.Close() }()
	return c.converse(ctx, conn, request)
}

// converse sends a request over conn and reads its answer.
func (c *Client) converse(ctx context.Context, conn connection, request []byte) (status int, body []byte, err error) {
	err = c.hear(ctx, conn, request, func(s int, h head, br *bufio.Reader) error {
		status = s
		body, err = h.body(br)
		return err
	})
	return status, body, err
}

// hear sends a request over conn and has read read the answer after its head.
func (c *Client) hear(ctx context.Context, conn connection, request []byte, read func(status int, h head, br *bufio.Reader) error) error {
	stop := context.AfterFunc(ctx, conn.interrupt)
	defer stop()

	// A server that refuses may stop reading early. Its answer says more than
	// the failed write.
	_, writeErr := conn.Write(request)
	br := bufio.NewReaderSize(conn, maxHead)
	status, h, err := readHead(br)
	if err == nil {
		err = read(status, h, br)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for tokend at %s: %w", c.Socket, ctx.Err())
	case writeErr != nil, errors.Is(err, errNoAnswer), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return &token.Error{Code: token.ErrNoDaemon, Cause: err,
			Message: fmt.Sprintf("tokend at %s went away without a whole answer", c.Socket)}
	}
	return c.nonsense(err)
}

// A connection is one to the daemon.
type connection interface {
	io.ReadWriteCloser
	// interrupt ends what is being read or written, and all that would be
	// after that. It may be called from anywhere.
	interrupt()
}

func (c *Client) connect(ctx context.Context) (connection, error) {
	conn, err := dial(ctx, c.Socket)
	if err != nil && c.Start != nil && isAbsent(err) {
		if err = c.Start(ctx); err == nil {
			conn, err = dial(ctx, c.Socket)
		}
	}
	if err != nil {
		return nil, c.notConnected(ctx, err)
	}
	if err := checkServer(conn, c.Socket); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (c *Client) notConnected(ctx context.Context, err error) error {
	var known *token.Error
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for tokend at %s: %w", c.Socket, ctx.Err())
	case isAbsent(err):
		return &token.Error{Code: token.ErrNoDaemon, Message: "no tokend answers at " + c.Socket, Cause: err}
	case errors.Is(err, fs.ErrPermission):
		return &token.Error{Code: token.ErrDenied, Message: "no permission to connect to " + c.Socket, Cause: err}
	}
	return fmt.Errorf("connecting to tokend: %w", err)
}

// isAbsent tells of the errors for a socket that nobody listens at.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// refusal is the error that the server's answer tells of.
func (c *Client) refusal(status int, body []byte) error {
	var r Refusal
	if err := json.Unmarshal(body, &r); err != nil || r.Error == nil || r.Error.Code == "" {
		return c.nonsense(fmt.Errorf("HTTP status %d without an error that tokend would send", status))
	}
	return r.Error
}

// traceIn are the steps that an answer tells of, be it a token or a refusal.
func traceIn(body []byte) []token.Step {
	var told struct {
		Trace []token.Step `json:"trace"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil
	}
	return told.Trace
}

// nonsense is the error for an answer that tokend does not give.
func (c *Client) nonsense(err error) error {
	return &token.Error{Code: token.ErrInternal, Message: fmt.Sprintf("not tokend's answer at %s: %v", c.Socket, err), Cause: err}
}
