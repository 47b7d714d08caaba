package ipcserver

import (
	"bytes"
	"context"
	"iter"
	"net/http"

	"tokend/providers/token"
)

// pieceSize is about how much of a long list leaves at a time, in bytes.
const pieceSize = 64 << 10

// sendList answers with frame, a JSON object that ends in an empty list, and
// the profiles in that list. A short answer leaves whole, with a
// Content-Length; a long one in pieces, in chunked transfer coding, while the
// profiles are told: thousands of them are never in memory together. An error
// after the first piece, or the end of ctx, has the connection broken off.
func sendList(ctx context.Context, w http.ResponseWriter, frame any, profiles iter.Seq[token.ProfileStatus]) error {
	var piece bytes.Buffer
	e := encoder(&piece)
	if err := e.Encode(frame); err != nil {
		return err
	}
	piece.Truncate(piece.Len() - len(listEnd+"\n"))
	n := 0
	for p := range profiles {
		if n++; n > 1 {
			piece.WriteByte(',')
		}
		if err := e.Encode(p); err != nil {
			return err
		}
		piece.Truncate(piece.Len() - len("\n"))
		if piece.Len() < pieceSize {
			continue
		}
		if ctx.Err() != nil {
			return token.ErrUnavailable
		}
		if !begun(w) {
			announce(w, jsonType)
		}
		if err := write(w, piece.Bytes()); err != nil {
			return nil // the caller is gone, and nobody else asked
		}
		piece.Reset()
	}
	piece.WriteString(listEnd)
	if !begun(w) {
		send(w, http.StatusOK, jsonType, piece.Bytes())
		return nil
	}
	_ = write(w, piece.Bytes())
	return nil
}

// listEnd ends an object that ends in a list.
const listEnd = "]}"
