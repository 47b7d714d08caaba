package ipc

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tokend/providers/token"
)

// A Holder is the tokend that uses a state directory, as it writes there beside the
// cache that it locks. After a crash the file stays.
type Holder struct {
	Socket string `json:"socket"`
	PID    int    `json:"pid"`
	Host   string `json:"host"`
	User   string `json:"user"`
}

// HolderFile is where a Holder is written.
func HolderFile(state string) string { return filepath.Join(state, "holder.json") }

// ReadHolder returns the zero Holder if the file cannot be read.
func ReadHolder(state string) (h Holder) {
	text, err := token.ReadConfig(HolderFile(state))
	if err == nil {
		_ = json.Unmarshal(text, &h)
	}
	return h
}

func (h Holder) String() string {
	return fmt.Sprintf("process %d of %s on %s, which serves at %s", h.PID, h.User, h.Host, h.Socket)
}

// Serves reports whether h is on this machine, and root's or this user's tokend
// listens at its socket.
func (h Holder) Serves(ctx context.Context) bool {
	if host, err := os.Hostname(); err != nil || h.Host != host || h.Socket == "" {
		return false
	}
	conn, err := (&Client{Socket: h.Socket, Deadline: time.Now().Add(time.Second)}).connect(ctx)
	return err == nil && conn.Close() == nil
}
