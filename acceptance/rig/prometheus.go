package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

// ErrNoPrometheus says that Prometheus is not installed.
var ErrNoPrometheus = errors.New("Prometheus is not installed: apt-get install prometheus")

// Prometheus is a Prometheus server that scrapes a broker and evaluates the shipped alert
// rules every second.
type Prometheus struct {
	process *Process
	address string
}

// StartPrometheus runs a Prometheus in the folder dir, with the alert rules of the file
// alerts. Conditions that must last minutes must last a second here, so that tests need
// not wait.
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
	// It is ready once it has scraped the broker.
	err = p.process.Await(ctx, 100*time.Millisecond, func() bool {
		var answer struct {
			Data struct{ Result []any }
		}
		err := fetchJSON(ctx, "http://"+p.address+"/api/v1/query?query=up%3D%3D1", &answer)
		return err == nil && len(answer.Data.Result) > 0
	})
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("prometheus does not get ready: %w", err)
	}
	return p, nil
}

// impatient copies alert rules, with every "for" reduced to a second.
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

// Alert is a firing alert: the labels of its rule and of the expression.
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
