use std::fmt;

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// PostgreSQL.
    Postgresql,
    /// Elasticsearch.
    Elasticsearch,
    /// Milvus.
    Milvus,
    /// Redis.
    Redis,
    /// Nacos.
    Nacos,
    /// RabbitMQ.
    Rabbitmq,
    /// MySQL or MariaDB.
    Mysql,
    /// MongoDB.
    Mongodb,
    /// A SQLite file.
    Sqlite,
}

impl Kind {
    /// Every kind, those of the seed first.
    pub const ALL: [Kind; 9] = [
        Kind::Postgresql,
        Kind::Elasticsearch,
        Kind::Milvus,
        Kind::Redis,
        Kind::Nacos,
        Kind::Rabbitmq,
        Kind::Mysql,
        Kind::Mongodb,
        Kind::Sqlite,
    ];

    /// The name in paths and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Postgresql => "postgresql",
            Kind::Elasticsearch => "elasticsearch",
            Kind::Milvus => "milvus",
            Kind::Redis => "redis",
            Kind::Nacos => "nacos",
            Kind::Rabbitmq => "rabbitmq",
            Kind::Mysql => "mysql",
            Kind::Mongodb => "mongodb",
            Kind::Sqlite => "sqlite",
        }
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Postgresql => "PostgreSQL",
            Kind::Elasticsearch => "Elasticsearch",
            Kind::Milvus => "Milvus",
            Kind::Redis => "Redis",
            Kind::Nacos => "Nacos",
            Kind::Rabbitmq => "RabbitMQ",
            Kind::Mysql => "MySQL",
            Kind::Mongodb => "MongoDB",
            Kind::Sqlite => "SQLite",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
