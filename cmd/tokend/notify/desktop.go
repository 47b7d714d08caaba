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

// A desktop shows notifications on the session bus.
type desktop struct{ bus *dbus.Conn }

// show shows a need in place of the one before in its bubble.
func (d *desktop) show(ctx context.Context, n need, b *bubble) (err error) {
	if d.bus == nil || !d.bus.Connected() {
		if d.bus, err = dbus.SessionBusPrivateNoAutoStartup(); err == nil {
			err = d.bus.Auth(nil)
		}
		if err == nil {
			err = d.bus.Hello()
		}
		if err != nil {
			d.bus = nil
			return fmt.Errorf("waiting for a session bus to show notifications: %w", err)
		}
	}
	if b.server != d.server(ctx) {
		b.id = 0 // which is another's on this server
	}
	const urgencyNormal, serverDecides = byte(1), int32(-1)
	err = d.call(ctx, "Notify", "tokend", b.id, "dialog-password", plain(n.title), plain(n.text), []string{},
		map[string]dbus.Variant{"urgency": dbus.MakeVariant(urgencyNormal)}, serverDecides).Store(&b.id)
	if err != nil {
		return fmt.Errorf("waiting for a notification server: %w", err)
	}
	b.server, b.waits = d.server(ctx), false
	return nil
}

// takeBack closes a notification, unless the server that showed it is gone.
func (d *desktop) takeBack(ctx context.Context, b bubble) {
	if d.bus != nil && b.id != 0 && b.server == d.server(ctx) {
		d.call(ctx, "CloseNotification", b.id)
	}
}

// call calls the server, which the bus may have to start.
func (d *desktop) call(ctx context.Context, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return d.bus.Object(notifications, "/org/freedesktop/Notifications").CallWithContext(ctx, notifications+"."+method, 0, args...)
}

// server returns the bus's name of the server that runs, "" if none does.
func (d *desktop) server(ctx context.Context) (name string) {
	_ = d.bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, notifications).Store(&name)
	return name
}

// plain is a line without what servers take for markup: some show "&lt;" as it stands.
func plain(text string) string {
	return token.Printable(strings.NewReplacer("<", "‹", ">", "›", "&", "+").Replace(text), 300)
}
