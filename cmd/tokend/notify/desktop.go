package notify

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"tokend/providers/token"
)

// notifications is the name of the server, and of its interface, in the Desktop
// Notifications Specification 1.2:
// https://specifications.freedesktop.org/notification-spec/1.2/
const notifications = "org.freedesktop.Notifications"

// A bubble is the one notification of a need.
type bubble struct {
	step   string
	waits  bool   // to be shown
	id     uint32 // given by server, a name on the bus
	server string
}

// show shows a need in place of the one before in its bubble.
func (n need) show(ctx context.Context, b *bubble) error {
	bus, err := dbus.SessionBus() // which connects again after the bus was restarted
	if err != nil {
		return fmt.Errorf("waiting for a session bus; notifications are for desktops with D-Bus: %w", err)
	}
	if b.server != server(ctx, bus) {
		b.id = 0 // which is another's on this server
	}
	const urgencyNormal, serverDecides = byte(1), int32(-1)
	err = call(ctx, bus, "Notify", "tokend", b.id, "dialog-password", plain(n.title), plain(n.text), []string{},
		map[string]dbus.Variant{"urgency": dbus.MakeVariant(urgencyNormal)}, serverDecides).Store(&b.id)
	if err != nil {
		return fmt.Errorf("waiting for a notification server: %w", err)
	}
	b.server, b.waits = server(ctx, bus), false
	return nil
}

// takeBack closes a notification, unless the server that showed it is gone.
func (b bubble) takeBack(ctx context.Context) {
	if b.id == 0 {
		return
	}
	if bus, err := dbus.SessionBus(); err == nil && b.server == server(ctx, bus) {
		call(ctx, bus, "CloseNotification", b.id)
	}
}

// call calls the server, which the bus may have to start.
func call(ctx context.Context, bus *dbus.Conn, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return bus.Object(notifications, "/org/freedesktop/Notifications").CallWithContext(ctx, notifications+"."+method, 0, args...)
}

// server returns the bus's name of the server that runs, "" if none does.
func server(ctx context.Context, bus *dbus.Conn) (name string) {
	_ = bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, notifications).Store(&name)
	return name
}

// plain is a line without what servers take for markup: some show "&lt;" as it stands.
func plain(text string) string {
	return token.Printable(strings.NewReplacer("<", "‹", ">", "›", "&", "+").Replace(text), 300)
}
