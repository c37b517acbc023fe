package acceptance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// The search for secrets proves something only if it can find one.
var _ = Describe("The search for secrets", Ordered, func() {
	It("finds what is in each place", func(ctx SpecContext) {
		d := deploy(ctx, rig.Options{Vault: vaultBinary})
		broker := addBroker(ctx, d, "broker", nil)
		planted := fmt.Sprintf("planted-%d", time.Now().UnixNano())
		made, err := clientOf(broker).Provision(ctx, planted, osbclient.ProvisionRequest{
			ServiceID: database, PlanID: small, OrganizationGUID: "org", SpaceGUID: "space",
		})
		Expect(err).NotTo(HaveOccurred(), "%s", made.Body)
		_, err = clientOf(broker).FetchInstance(ctx, planted, "", "")
		Expect(err).NotTo(HaveOccurred())
		control := rig.Ledger{}
		control.Add("planted", planted)
		for what, text := range map[string]string{
			"the servers' word": "database system is ready to accept connections",
			"the metrics' word": "chandler_http_requests_total",
			"the tool's path":   d.Binary,
			"the role":          "administrator",
		} {
			control.Add(what, text)
		}
		Expect(os.WriteFile(filepath.Join(d.Dir, "tmp", "file"), []byte(planted), 0o600)).To(Succeed())
		places, err := d.Places(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(rig.Search(control.Finder(), places)).To(ContainElements(
			"planted in "+rig.Outputs, "planted in "+rig.StateRows, "planted in "+rig.StateFiles,
			"planted in "+rig.AnswersPlace, "planted in "+rig.TemporaryFile,
			"the servers' word in "+rig.ServerLogs, "the metrics' word in "+rig.Metrics,
			"the tool's path in "+rig.ProcessList, "the role in "+rig.TenantsFiles,
		))
	})
})
