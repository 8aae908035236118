# -*- test-case-name: tests.policy.test_servicecatalogue -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which domains belong to which service.

So that a family writes "no tiktok before six" instead of a list of names. Only
domains that are wholly the service's own are here: blocking a name that others
use too would break more than was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from dnsguard.policy.problems import Problems, nearest

__all__ = ["SERVICES", "domainsOf"]

_TABLE = """
    9gag            9gag.com 9cache.com
    aliexpress      aliexpress.com aliexpress.ru aliexpress.us
    apple_tv        tv.apple.com tv-apple.com
    battle_net      battle.net blizzard.com battlenet.com.cn blzstatic.cn
    bereal          bereal.com bere.al
    bilibili        bilibili.com bilibili.tv bilivideo.com biliapi.net hdslb.com b23.tv
    bluesky         bsky.app bsky.social
    chatgpt         chatgpt.com openai.com oaistatic.com oaiusercontent.com
    claude          claude.ai anthropic.com
    crunchyroll     crunchyroll.com vrv.co
    dailymotion     dailymotion.com dmcdn.net dm-event.net
    deepseek        deepseek.com
    deezer          deezer.com dzcdn.net
    discord         discord.com discordapp.com discord.gg discord.media discordapp.net
                    discordcdn.com discordstatus.com discord.gift discord.new dis.gd
    disneyplus      disneyplus.com disney-plus.net dssott.com bamgrid.com disneystreaming.com
    ebay            ebay.com ebay.co.uk ebay.de ebay.fr ebay.it ebay.es ebay.com.au ebay.ca
                    ebaystatic.com ebayimg.com
    electronic_arts ea.com origin.com tnt-ea.com
    epic_games      epicgames.com epicgames.dev epicgamesstore.com unrealengine.com
                    easyanticheat.net easy.ac
    facebook        facebook.com fbcdn.net fb.com fbcdn.com facebook.net fb.me fb.watch fbsbx.com
                    messenger.com m.me
    flickr          flickr.com flic.kr staticflickr.com
    fortnite        fortnite.com epicgames.com epicgames.dev epicgamesstore.com
    gemini          gemini.google.com
    gog             gog.com gog-statics.com gogalaxy.com
    grindr          grindr.com grindr.mobi
    grok            grok.com x.ai
    hbomax          hbomax.com max.com hbo.com hbomaxcdn.com
    hulu            hulu.com hulustream.com huluim.com
    imgur           imgur.com
    instagram       instagram.com cdninstagram.com instagramstatic.com ig.me igcdn.com igtv.com
    iqiyi           iqiyi.com iq.com iqiyipic.com qiyi.com
    kick            kick.com
    kik             kik.com
    leagueoflegends leagueoflegends.com lolstatic.com lolusercontent.com
    line            line.me line-apps.com line-scdn.net naver.jp
    linkedin        linkedin.com licdn.com lnkd.in
    mastodon        mastodon.social mastodon.online joinmastodon.org mstdn.social
    microsoft_teams teams.microsoft.com teams.live.com teams.cdn.office.net
    minecraft       minecraft.net mojang.com minecraftservices.com minecraft-services.net
    netflix         netflix.com nflxvideo.net nflxext.com nflxso.net nflximg.net netflixdnstest.com
                    nflximg.com nflxsearch.net netflix.net fast.com
    nintendo        nintendo.com nintendo.net nintendo-europe.com nintendo.co.jp nintendowifi.net
    odysee          odysee.com odycdn.com lbry.com
    onlyfans        onlyfans.com
    paramountplus   paramountplus.com pplusstatic.com
    perplexity      perplexity.ai
    pinterest       pinterest.com pinimg.com pin.it pinterest.de pinterest.co.uk pinterest.fr
                    pinterest.es pinterest.it pinterest.ca pinterest.com.au pinterest.jp
    playstation     playstation.com playstation.net sonyentertainmentnetwork.com
                    playstation-cloud.com gaikai.com
    plex            plex.tv plexapp.com plex.direct plex.bz
    primevideo      primevideo.com aiv-cdn.net aiv-delivery.net amazonvideo.com
    qq              qq.com
    quora           quora.com quoracdn.net
    rakuten_viki    viki.com viki.io vikiplatform.com
    reddit          reddit.com redditmedia.com redd.it redditstatic.com redditmail.com
    riot_games      riotgames.com riotcdn.net pvp.net rgpub.io
    roblox          roblox.com rbxcdn.com roblox.cn rbx.com rbxcdn.net rbxinfra.com rbxinfra.net
                    robloxcdn.com
    rockstar_games  rockstargames.com rsg.sc
    shein           shein.com shein.co.uk sheingsp.com ltwebstatic.com
    signal          signal.org whispersystems.org
    skype           skype.com skypeassets.com skypedata.akadns.net
    slack           slack.com slack-edge.com slack-files.com slack-imgs.com slackb.com
    snapchat        snapchat.com sc-cdn.net snap-dev.net snapads.com snapkit.co
    soundcloud      soundcloud.com sndcdn.com
    spotify         spotify.com scdn.co spotifycdn.com spotifycdn.net pscdn.co spoti.fi
                    spotifycodes.com
    steam           steampowered.com steamcommunity.com steamstatic.com steamcontent.com
                    steamusercontent.com steamgames.com steamserver.net steamchina.com
                    steamdeck.com steam-chat.com steam-api.com s.team valvesoftware.com
    telegram        telegram.org t.me telegra.ph telegram.me telegram.dog telegram-cdn.org
                    telesco.pe tdesktop.com graph.org tg.dev
    temu            temu.com temu.to kwcdn.com
    tidal           tidal.com tidalhifi.com
    tiktok          tiktok.com tiktokv.com tiktokcdn.com tiktokcdn-us.com byteoversea.com
                    musically.com snssdk.com amemv.com tiktokapi.com tiktokcdn-eu.com musical.ly
                    muscdn.com tiktokrow-cdn.com ttlivecdn.com ibytedtos.com
    tinder          tinder.com gotinder.com tindersparks.com
    tumblr          tumblr.com
    twitch          twitch.tv ttvnw.net jtvnw.net twitchcdn.net twitchsvc.net ext-twitch.tv
    twitter         twitter.com x.com twimg.com t.co pscp.tv periscope.tv tweetdeck.com
                    twitpic.com twttr.com twttr.net
    ubisoft         ubisoft.com ubi.com ubisoftconnect.com
    valorant        playvalorant.com valorant.scd.riotcdn.net valorant.secure.dyn.riotcdn.net
    viber           viber.com
    vimeo           vimeo.com vimeocdn.com vimeopro.com vhx.tv
    vk              vk.com vk.ru vk.me vk.cc vkontakte.ru userapi.com vkuser.net vk-cdn.net
                    vkuseraudio.net vkuservideo.net
    wechat          wechat.com weixin.com weixin.qq.com wx.qq.com weixinbridge.com
    weibo           weibo.com weibo.cn weibocdn.com
    whatsapp        whatsapp.com whatsapp.net wa.me
    xboxlive        xbox.com xboxlive.com xboxservices.com
    xiaohongshu     xiaohongshu.com xhscdn.com xhslink.com
    youtube         youtube.com googlevideo.com ytimg.com youtube-nocookie.com youtubei.com
                    youtubeeducation.com youtu.be youtubei.googleapis.com youtube.googleapis.com
                    youtubekids.com youtubegaming.com youtube-ui.l.google.com
                    wide-youtube.l.google.com yt.be ggpht.com
    zoom            zoom.us zoom.com zoomgov.com zoomcdn.us
"""
"""
A service's id and its domains; a line that begins with a domain further in
goes on with the service above.
"""


def _read(table: str) -> dict[str, tuple[str, ...]]:
    services: dict[str, tuple[str, ...]] = {}
    service = ""
    for line in table.splitlines():
        words = line.split()
        if not words:
            continue
        if line[4] != " ":
            service = words.pop(0)
        services[service] = services.get(service, ()) + tuple(words)
    return services


SERVICES = MappingProxyType(_read(_TABLE))
"""By a service's id: its domains, which stand for all names below them too."""


def domainsOf(ids: Iterable[str], place: str, problems: Problems) -> tuple[str, ...]:
    """
    Give the domains of some services, each once.

    @param place: Where the ids were written.
    @param problems: Told of each id that no service has.
    """
    domains: dict[str, None] = {}
    for number, service in enumerate(ids):
        if service in SERVICES:
            domains.update(dict.fromkeys(SERVICES[service]))
        else:
            problems.note(
                f"{place}[{number}]", f"no such service: {service!r}{nearest(service, SERVICES)}"
            )
    return tuple(domains)
