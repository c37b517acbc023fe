package trove

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

func TestConfig(t *testing.T) {
	const cloud = `"auth_url": "http://127.0.0.1:1/v3", "domain": "d", "username": "u", "password": "p"`
	for text, want := range map[string]string{
		`{` + cloud + `}`:                                              "",
		`{` + cloud + `, "address": "10.0.0.0/8"}`:                     "",
		`{` + cloud + `, "address": "public"}`:                         "",
		`{` + cloud + `, "address": "not an address"}`:                 "address: ",
		`{` + cloud + `, "port": 0}`:                                   "port: ",
		`{` + cloud + `, "tls": "maybe"}`:                              "tls: ",
		`{` + cloud + `, "sessions": "kill"}`:                          "sessions: ",
		`{` + cloud + `, "database_ca": "x"}`:                          "database_ca: ",
		`{` + cloud + `, "database_ca": "x", "database_ca_file": "y"}`: "database_ca_file: ",
		`{}`: "auth_url: ",
	} {
		if _, err := services.Decode[Config](json.RawMessage(text)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestPlan(t *testing.T) {
	plan := func(change string) json.RawMessage {
		return json.RawMessage(`{"datastore": "mysql", "version": "8.0", "flavor": "f", "volume": "5GB"` + change + `}`)
	}
	for change, want := range map[string]string{
		``:                                "",
		`, "volume": "1TB"`:               "",
		`, "volume": "500MB"`:             "volume: ",
		`, "volume": "1500MB"`:            "volume: ",
		`, "volume": 5`:                   "volume: ",
		`, "datastore": "postgresql"`:     "datastore: ",
		`, "flavor": ""`:                  "flavor: ",
		`, "version": ""`:                 "version: ",
		`, "network": "private"`:          "network: ",
		`, "allowed_cidrs": ["10.0.0.1"]`: "allowed_cidrs: ",
		`, "volume_type": "a\nb"`:         "volume_type: ",
	} {
		if _, err := services.Decode[Plan](plan(change)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
}

// Character sets and collations reach Trove by the names that it knows.
func TestSchemaOf(t *testing.T) {
	for _, test := range []struct{ params, want InstanceParams }{
		{InstanceParams{}, InstanceParams{CharacterSet: "utf8mb4"}},
		{InstanceParams{CharacterSet: "latin2", Collate: "latin2_general_ci"}, InstanceParams{CharacterSet: "latin2", Collate: "latin2_general_ci"}},
		{InstanceParams{CharacterSet: "utf8"}, InstanceParams{CharacterSet: "utf8"}},
		{InstanceParams{CharacterSet: "utf8mb3", Collate: "utf8mb3_bin"}, InstanceParams{CharacterSet: "utf8", Collate: "utf8_bin"}},
		{InstanceParams{CharacterSet: "utf8", Collate: "utf8_bin"}, InstanceParams{CharacterSet: "utf8", Collate: "utf8_bin"}},
		{InstanceParams{Collate: "cp1250_czech_cs"}, InstanceParams{CharacterSet: "cp1250", Collate: "cp1250_czech_cs"}},
		{InstanceParams{CharacterSet: "binary", Collate: "binary"}, InstanceParams{CharacterSet: "binary", Collate: "binary"}},
	} {
		inst := instance{Name: "n", Params: test.params}
		got := schemaOf("n", test.params)
		if diff := cmp.Diff(test.want, InstanceParams{CharacterSet: got["character_set"], Collate: got["collate"]}); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.params, diff)
		}
		if err := (&backend{}).CheckInstance(inst); err != nil {
			t.Errorf("%+v: %v", test.params, err)
		}
	}
}

func TestReachable(t *testing.T) {
	s := server{ID: "s", Addresses: []address{{"10.1.0.5", private, "net-1"}, {"192.0.2.7", public, "net-2"}, {"2001:db8::1", private, "net-3"}}}
	for rule, want := range map[string]string{
		"private": "10.1.0.5", "public": "192.0.2.7", "net-3": "2001:db8::1", "2001:db8::/32": "2001:db8::1", "192.0.2.0/24": "192.0.2.7", "172.16.0.0/12": "", "net-9": "",
	} {
		b := &backend{config: Config{Address: rule, Port: mysqldb.DefaultPort}}
		at, err := b.reachable(s)
		if at.Host != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", rule, at.Host, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "address: ") || !strings.Contains(err.Error(), "192.0.2.7 (public, network net-2)")) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	s.Hostname = "db.example.com"
	if at, err := (&backend{config: Config{Address: private}}).reachable(s); err != nil || at.Host != s.Hostname {
		t.Errorf("%q, %v", at.Host, err)
	}
}

func TestOwnerOf(t *testing.T) {
	binding := strings.Repeat("b", 26)
	const here, before = "6d869f0f-782f-407c-a371-1e3ef6ab026b", "00000000-782f-407c-a371-1e3ef6ab026b"
	for name, test := range map[string]struct {
		grants []string
		want   owner
	}{
		"a binding":             {[]string{"cdb", marker(binding, here)}, owner{binding, marker(binding, here), true, []string{"cdb"}}},
		"of a restored backup":  {[]string{marker(binding, before), "cdb"}, owner{binding, marker(binding, before), false, []string{"cdb"}}},
		"in between":            {[]string{marker(binding, before), marker(binding, here)}, owner{binding, marker(binding, here), true, nil}},
		"in between, reversed":  {[]string{marker(binding, here), marker(binding, before)}, owner{binding, marker(binding, here), true, nil}},
		"closed":                {[]string{"cdb"}, owner{databases: []string{"cdb"}}},
		"somebody's in Horizon": {nil, owner{}},
	} {
		got := ownerOf(slices.Clone(test.grants), here)
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(owner{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCrowded(t *testing.T) {
	for used, want := range map[float64]bool{0: false, 4.7: false, 4.8: true, 5: true} {
		var s server
		s.Volume.Size, s.Volume.Used = 5, used
		if c := s.crowded(); (c.Reason == services.OverQuota) != want || (c.Message != "") != want {
			t.Errorf("%v GB: %+v", used, c)
		}
	}
	if c := (server{}).crowded(); c.Message != "" {
		t.Errorf("without a volume: %+v", c)
	}
}
