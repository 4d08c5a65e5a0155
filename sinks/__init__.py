"""One file per destination: each applies a batch of events once. No Faust and no Kafka in here."""
