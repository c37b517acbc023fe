package osb

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestOriginatingIdentity(t *testing.T) {
	const rule = "the header X-Broker-API-Originating-Identity must be the platform's name, a space and a JSON object in base64"
	for _, c := range []struct {
		name    string
		sent    []string
		want    string
		wantErr string
	}{
		{"absent", nil, "", ""},
		{
			"Cloud Foundry",
			[]string{"cloudfoundry " + base64Of(`{"user_id": "683ea748-3092-4ff4-b656-39cacc4d5360"}`)},
			`{"platform":"cloudfoundry","value":{"user_id":"683ea748-3092-4ff4-b656-39cacc4d5360"}}`, "",
		},
		{
			"Kubernetes",
			[]string{"kubernetes " + base64Of(`{"username":"duke","uid":"c2dde242","groups":["admin","dev"],"extra":{"mydata":["data1"]}}`)},
			`{"platform":"kubernetes","value":{"username":"duke","uid":"c2dde242","groups":["admin","dev"],"extra":{"mydata":["data1"]}}}`, "",
		},
		{"another platform", []string{"sap-cp " + base64Of(`{}`)}, `{"platform":"sap-cp","value":{}}`, ""},
		{"empty", []string{""}, "", rule},
		{"platform only", []string{"cloudfoundry"}, "", rule + ": the JSON ends too early"},
		{"no platform", []string{" " + base64Of(`{}`)}, "", rule},
		{"two spaces", []string{"cloudfoundry  " + base64Of(`{}`)}, "", rule},
		{"not base64", []string{"cloudfoundry {}"}, "", rule},
		{"base64 without padding", []string{"cloudfoundry " + strings.TrimRight(base64Of(`{"a":1}`), "=")}, "", rule},
		{"not JSON", []string{"cloudfoundry " + base64Of(`user`)}, "", rule + ": it is not valid JSON, at byte 0"},
		{"not an object", []string{"cloudfoundry " + base64Of(`["a"]`)}, "", rule + ": it must be a JSON object, not an array"},
		{"trailing bytes", []string{"cloudfoundry " + base64Of(`{} {}`)}, "", rule + ": there is more after the JSON object, at byte 4"},
		{"sent twice", []string{"a " + base64Of(`{}`), "b " + base64Of(`{}`)}, "", rule},
		{"platform is not text", []string{"\xff " + base64Of(`{}`)}, "", rule},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := originatingIdentity(c.sent)
			var gotErr string
			if err != nil {
				gotErr = err.Error()
			}
			if string(got) != c.want || gotErr != c.wantErr {
				t.Errorf("got %q, %q; want %q, %q", got, gotErr, c.want, c.wantErr)
			}
		})
	}
}

func FuzzOriginatingIdentity(f *testing.F) {
	f.Add("cloudfoundry " + base64Of(`{"user_id":"u"}`))
	f.Add("kubernetes " + base64Of(`{"a":{"a":[1e999]}}`))
	f.Add("cloudfoundry e30")
	f.Add(" ")
	f.Fuzz(func(t *testing.T, sent string) {
		got, err := originatingIdentity([]string{sent})
		if err != nil {
			return
		}
		var decoded struct {
			Platform string
			Value    map[string]any
		}
		if err := json.Unmarshal(got, &decoded); err != nil || decoded.Value == nil {
			t.Fatalf("accepted %q as %q: %v", sent, got, err)
		}
		if !strings.HasPrefix(sent, decoded.Platform+" ") {
			t.Fatalf("made the platform %q of %q", decoded.Platform, sent)
		}
	})
}

func TestRequestIdentity(t *testing.T) {
	for _, c := range []struct{ name, sent, want string }{
		{"UUID", "26ef5e6a-8d4e-4f2c-9f4a-1f8c7f1a2b3c", "26ef5e6a-8d4e-4f2c-9f4a-1f8c7f1a2b3c"},
		{"any text", "request 7 of 9", "request 7 of 9"},
		{"long", strings.Repeat("x", 300), strings.Repeat("x", 255)},
		{"not fit for a header", "a\r\nSet-Cookie: b\x00\x7f", "aSet-Cookie: b"},
		{"not ASCII", "é1\xff", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header[requestIdentityHeader] = []string{c.sent}
			if got := requestIdentity(r); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("made where none is sent", func(t *testing.T) {
		r := httptest.NewRequest("GET", "/", nil)
		one, two := requestIdentity(r), requestIdentity(r)
		if len(one) != 36 || one == two {
			t.Errorf("made %q and %q, want two UUIDs", one, two)
		}
	})
}
