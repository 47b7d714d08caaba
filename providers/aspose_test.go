package providers

import (
	"net/http"
	"net/url"
	"testing"

	"tokend/providers/token"
)

func TestAsposeBaseURLs(t *testing.T) {
	for base, want := range map[string]string{
		"https://api.aspose.cloud": "https://api.aspose.cloud", "https://api.aspose.cloud/": "https://api.aspose.cloud", "https://api.aspose.cloud/v4.0": "https://api.aspose.cloud",
		"https://api.aspose.cloud/v3.0/words/convert": "https://api.aspose.cloud", "https://api.aspose.cloud/connect/token": "https://api.aspose.cloud",
		"https://h.example/docs/v1/": "https://h.example/docs", "https://h.example/valid": "https://h.example/valid",
		"http://localhost:8081/v4.0": "http://localhost:8081", "http://127.0.0.1": "http://127.0.0.1", "http://h.example": "", "http://localhost.example": "",
	} {
		opened, err := opens("aspose", map[string]any{"client_id": "c", "base_url": base})
		if want == "" {
			if errorOf(err).Field != "base_url" {
				t.Errorf("%s: %v", base, err)
			}
			continue
		}
		if m, ok := opened.(*minter); !ok || m.Endpoint() != want+"/connect/token" || m.Hosts()[0] != want {
			t.Errorf("%s: %v, %v", base, opened, err)
		}
	}
	proxy, err := proxyOf("http://proxy.example:3128")
	if u, _ := proxy(&http.Request{URL: &url.URL{Scheme: "http", Host: "localhost:8081"}}); err != nil || u != nil {
		t.Errorf("a proxy would read the secret: %v, %v", u, err)
	}
	kind, _ := Lookup("aspose")
	const id, key = "3b0f6a7e-1d0c-4a50-9f3b-2f6d0f1c9a10", "0123456789abcdef0123456789abcdef"
	for pair, swapped := range map[[2]string]bool{{id, key}: false, {key, id}: true, {id, id}: false, {"c", key}: false} {
		a := token.CreateProfile{Settings: map[string]any{"client_id": pair[0]}, Secrets: map[string]token.Secret{"client_secret": secret(pair[1])}}
		if err := kind.Prepare(&a); (err != nil) != swapped || err != nil && errorOf(err).Field != "client_id" {
			t.Errorf("%q: %v", pair, err)
		}
	}
}
