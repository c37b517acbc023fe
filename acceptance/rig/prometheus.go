package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

// ErrNoPrometheus is StartPrometheus's error on a machine without Prometheus.
var ErrNoPrometheus = errors.New("Prometheus is not installed: apt-get install prometheus")

// Prometheus is a Prometheus server that scrapes a broker every second and
// evaluates the shipped alert rules as often.
type Prometheus struct {
	process *Process
	address string
}

// StartPrometheus runs a Prometheus in the folder dir, with the alert rules of the
// file alerts. Their expressions stay; what has to hold for some minutes has to hold
// for a second, so that tests need not wait.
func StartPrometheus(ctx context.Context, dir, alerts string, b *Broker) (*Prometheus, error) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, ErrNoPrometheus
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := impatient(alerts, filepath.Join(dir, "alerts.yml")); err != nil {
		return nil, err
	}
	config, err := yaml.Marshal(map[string]any{
		"global":     map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{"alerts.yml"},
		"scrape_configs": []map[string]any{{
			"job_name": "chandler", "static_configs": []map[string]any{{"targets": []string{b.address}}},
			"basic_auth": map[string]string{
				"username": b.deployment.Value("CHANDLER_OPERATOR_USERNAME"), "password": b.deployment.Value("CHANDLER_OPERATOR_PASSWORD"),
			},
		}},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), config, 0o600); err != nil {
		return nil, err
	}
	p := &Prometheus{}
	if p.address, err = FreeAddress(); err != nil {
		return nil, err
	}
	p.process, err = Start(Command{
		Name: "prometheus", Path: program, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH")},
		Args: []string{"--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=" + p.address},
	})
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx)
}

// impatient copies alert rules with every "for" cut down to a second.
func impatient(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var rules struct {
		Groups []struct {
			Name  string           `json:"name"`
			Rules []map[string]any `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(text, &rules); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if _, patient := rule["for"]; patient {
				rule["for"] = "1s"
			}
		}
	}
	if text, err = yaml.Marshal(rules); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// await waits until Prometheus has scraped the broker.
func (p *Prometheus) await(ctx context.Context) error {
	for {
		var answer struct {
			Data struct{ Result []any }
		}
		err := fetchJSON(ctx, "http://"+p.address+"/api/v1/query?query=up%3D%3D1", &answer)
		if err == nil && len(answer.Data.Result) > 0 {
			return nil
		}
		if err := p.process.Ended(); err != nil {
			return fmt.Errorf("prometheus: %w", err)
		}
		select {
		case <-ctx.Done():
			p.Close()
			return fmt.Errorf("prometheus does not get ready: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Alert is one that fires: its rule's labels and the expression's.
type Alert map[string]string

// Firing returns the alerts that fire now.
func (p *Prometheus) Firing(ctx context.Context) ([]Alert, error) {
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels Alert
				State  string
			}
		}
	}
	if err := fetchJSON(ctx, "http://"+p.address+"/api/v1/alerts", &answer); err != nil {
		return nil, err
	}
	firing := []Alert{}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			firing = append(firing, a.Labels)
		}
	}
	return firing, nil
}

// Close ends Prometheus.
func (p *Prometheus) Close() { p.process.Kill() }

// fetchJSON gets what a server's API answers.
func fetchJSON(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", request.URL.Path, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
