# Prometheus with this directory's rules, on a boot host or elsewhere.
{
  services.prometheus = {
    enable = true;
    # Its own port is the boot server's default for metrics too.
    port = 9095;
    ruleFiles = [ ./alerts.yaml ];
    scrapeConfigs = [
      {
        job_name = "every-channel-netboot";
        scrape_interval = "15s";
        static_configs = [ { targets = [ "127.0.0.1:9090" ]; } ];
      }
    ];
  };
}
