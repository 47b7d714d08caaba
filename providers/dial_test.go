package providers

import (
	"errors"
	"testing"

	"tokend/providers/token"
)

func TestInwardAddressesAreRefused(t *testing.T) {
	for addr, refused := range map[string]bool{
		"127.0.0.1:443": true, "127.1.2.3:443": true, "[::1]:443": true, "[::ffff:127.0.0.1]:443": true,
		"169.254.169.254:80": true, "[fe80::1%eth0]:443": true, "0.0.0.0:443": true, "[ff02::1]:443": true,
		"192.0.2.1:443": false, "10.0.0.1:443": false, "[2001:db8::1]:443": false,
	} {
		if err := refuseInward("tcp", addr, nil); errors.Is(err, errInward) != refused {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// A name, unlike the address itself, that leads to loopback: nothing is sent.
func TestANameThatLeadsInward(t *testing.T) {
	s := startIssuers(t)
	id, text := s.Aspose().NewClient()
	try := func(base string) error {
		_, err := trial{kind: "aspose", settings: map[string]any{"client_id": id, "base_url": base},
			secrets: map[string]token.Secret{"client_secret": secret(text)}}.open(t, clientFor(t, s.CertPEM(), HTTPConfig{})).Mint(t.Context(), token.Target{})
		return err
	}
	port := s.URL()[len("https://127.0.0.1"):]
	if err := try("https://localhost" + port); err != nil {
		t.Errorf("localhost itself: %v", err)
	}
	err := try("https://LOCALHOST" + port) // a name like any other that resolves so
	if !errors.Is(err, token.ErrUnavailable) || s.Aspose().Requests() != 1 {
		t.Errorf("%v after %d requests", err, s.Aspose().Requests())
	}
	if want := "LOCALHOST" + port + " was not asked: " + errInward.Error(); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}
