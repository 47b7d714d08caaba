package token

import "context"

// An Asker is what a credential helper says of the tool that asks. Tools do not say
// that a server refused a token: they ask again.
type Asker struct {
	// Key tells what the tool asks for, and mostly its process, apart from others.
	Key string
	// Again is how many times in ten seconds the same token may be the answer before
	// a further question means that it was refused, and is answered by an error with
	// the Detail AskedAgain. With 1 the time makes no difference: the tool keeps a
	// token for as long as it is good. With 0 the tool says itself what was refused.
	Again int
}

type askerKey struct{}

// WithAsker returns a context that carries a.
func WithAsker(ctx context.Context, a Asker) context.Context {
	return context.WithValue(ctx, askerKey{}, a)
}

// AskerOf returns the Asker of ctx, the zero Asker if it has none.
func AskerOf(ctx context.Context) Asker {
	a, _ := ctx.Value(askerKey{}).(Asker)
	return a
}
