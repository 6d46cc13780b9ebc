<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="sv_SE" sourcelanguage="en_GB">
<context>
    <name>@default</name>
    <message>
        <source>H shows the keys</source>
        <translation>H visar tangenterna</translation>
    </message>
    <message>
        <source>Come closer</source>
        <translation>Kom närmare</translation>
    </message>
    <message>
        <source>No picture from the camera</source>
        <translation>Ingen bild från kameran</translation>
    </message>
    <message numerus="yes">
        <source>for %n second(s)</source>
        <translation>
            <numerusform>sedan %n sekund</numerusform>
            <numerusform>sedan %n sekunder</numerusform>
        </translation>
    </message>
    <message>
        <source>trying again now</source>
        <translation>försöker igen nu</translation>
    </message>
    <message numerus="yes">
        <source>trying again in %n second(s)</source>
        <translation>
            <numerusform>nytt försök om %n sekund</numerusform>
            <numerusform>nytt försök om %n sekunder</numerusform>
        </translation>
    </message>
    <message>
        <source>this card</source>
        <translation>det här kortet</translation>
    </message>
    <message>
        <source>full screen</source>
        <translation>helskärm</translation>
    </message>
    <message>
        <source>operator&apos;s panel</source>
        <translation>operatörens panel</translation>
    </message>
    <message>
        <source>mirror the picture</source>
        <translation>spegla bilden</translation>
    </message>
    <message>
        <source>fill the screen</source>
        <translation>fyll skärmen</translation>
    </message>
    <message>
        <source>high contrast</source>
        <translation>hög kontrast</translation>
    </message>
    <message>
        <source>next language</source>
        <translation>nästa språk</translation>
    </message>
    <message>
        <source>budget, with the panel open</source>
        <translation>tidsbudget, med panelen öppen</translation>
    </message>
    <message>
        <source>exit, with the panel open</source>
        <translation>utgång, med panelen öppen</translation>
    </message>
    <message>
        <source>one of several cameras</source>
        <translation>en av flera kameror</translation>
    </message>
    <message>
        <source>budget and exit as at the start</source>
        <translation>tidsbudget och utgång som vid starten</translation>
    </message>
    <message>
        <source>end</source>
        <translation>avsluta</translation>
    </message>
    <message>
        <source>nobody to read</source>
        <translation>ingen att läsa av</translation>
    </message>
    <message numerus="yes">
        <source>%n face(s)</source>
        <translation>
            <numerusform>%n ansikte</numerusform>
            <numerusform>%n ansikten</numerusform>
        </translation>
    </message>
    <message>
        <source>{ms} ms left</source>
        <translation>{ms} ms kvar</translation>
    </message>
    <message>
        <source>exit {number} at {size} px</source>
        <translation>utgång {number} vid {size} px</translation>
    </message>
    <message>
        <source>{read} of {faces} read</source>
        <translation>{read} av {faces} lästa</translation>
    </message>
    <message>
        <source>idle</source>
        <translation>vilar</translation>
    </message>
    <message>
        <source>{ms} ms, {predicted} predicted</source>
        <translation>{ms} ms, {predicted} väntat</translation>
    </message>
    <message>
        <source>faces</source>
        <translation>ansikten</translation>
    </message>
    <message>
        <source>frame age</source>
        <translation>bildens ålder</translation>
    </message>
    <message>
        <source>network</source>
        <translation>nätverk</translation>
    </message>
    <message>
        <source>misses</source>
        <translation>för sena</translation>
    </message>
    <message>
        <source>dropped frames</source>
        <translation>tappade bilder</translation>
    </message>
    <message>
        <source>provider</source>
        <translation>beräkningsenhet</translation>
    </message>
    <message>
        <source>auto</source>
        <translation>automatisk</translation>
    </message>
    <message>
        <source>budget</source>
        <translation>tidsbudget</translation>
    </message>
    <message>
        <source>exit</source>
        <translation>utgång</translation>
    </message>
    <message>
        <source>fps</source>
        <translation>bilder/s</translation>
    </message>
    <message>
        <source>angry</source>
        <translation>arg</translation>
    </message>
    <message>
        <source>disgusted</source>
        <translation>äcklad</translation>
    </message>
    <message>
        <source>afraid</source>
        <translation>rädd</translation>
    </message>
    <message>
        <source>happy</source>
        <translation>glad</translation>
    </message>
    <message>
        <source>neutral</source>
        <translation>neutral</translation>
    </message>
    <message>
        <source>sad</source>
        <translation>ledsen</translation>
    </message>
    <message>
        <source>surprised</source>
        <translation>förvånad</translation>
    </message>
    <message>
        <source>starting</source>
        <translation>startar</translation>
    </message>
    <message>
        <source>, for {read}</source>
        <translation>, för {read}</translation>
    </message>
    <message>
        <source>deadline {ms} ms</source>
        <translation>tidsgräns {ms} ms</translation>
    </message>
    <message>
        <source>no time left</source>
        <translation>ingen tid kvar</translation>
    </message>
    <message>
        <source>person in view</source>
        <translation>person i bild</translation>
    </message>
    <message>
        <source>people in view</source>
        <translation>personer i bild</translation>
    </message>
    <message>
        <source>turned away</source>
        <translation>bortvänd</translation>
    </message>
    <message>
        <source>at the edge</source>
        <translation>vid kanten</translation>
    </message>
    <message>
        <source>too small</source>
        <translation>för liten</translation>
    </message>
    <message>
        <source>getting ready</source>
        <translation>förbereder</translation>
    </message>
    <message>
        <source>A computer is guessing here. It is often wrong.</source>
        <translation>Här gissar en dator, och ofta fel.</translation>
    </message>
    <message>
        <source>A computer is guessing here. It is often wrong, and keeps nothing about you.</source>
        <translation>Här gissar en dator, och ofta fel. Den sparar inget om dig.</translation>
    </message>
    <message>
        <source>looks about {age}</source>
        <translation>ser ut att vara runt {age}</translation>
    </message>
    <message>
        <source>perhaps a woman</source>
        <translation>kanske en kvinna</translation>
    </message>
    <message>
        <source>perhaps a man</source>
        <translation>kanske en man</translation>
    </message>
    <message>
        <source>Back soon</source>
        <translation>Snart tillbaka</translation>
    </message>
    <message>
        <source>The camera is unplugged</source>
        <translation>Kameran är urkopplad</translation>
    </message>
    <message>
        <source>exit {number}</source>
        <translation>utgång {number}</translation>
    </message>
    <message>
        <source>See what a computer guesses from your face</source>
        <translation>Se vad en dator gissar av ditt ansikte</translation>
    </message>
    <message>
        <source>camera</source>
        <translation>kamera</translation>
    </message>
    <message>
        <source>exposure</source>
        <translation>exponering</translation>
    </message>
    <message>
        <source>keys</source>
        <translation>tangenter</translation>
    </message>
    <message>
        <source>back</source>
        <translation>tillbaka</translation>
    </message>
    <message>
        <source>For the operator</source>
        <translation>För operatören</translation>
    </message>
    <message>
        <source>wait a moment</source>
        <translation>vänta ett ögonblick</translation>
    </message>
    <message>
        <source>not this one</source>
        <translation>inte den här</translation>
    </message>
    <message>
        <source>PIN</source>
        <translation>PIN</translation>
    </message>
    <message>
        <source>A computer is guessing here. It is often wrong. Pictures of faces are sent to a server to be read.</source>
        <translation>Här gissar en dator, och ofta fel. Bilder av ansikten skickas till en server för att läsas av.</translation>
    </message>
    <message>
        <source>server</source>
        <translation>server</translation>
    </message>
    <message>
        <source>answers</source>
        <translation>svarar</translation>
    </message>
    <message>
        <source>does not answer</source>
        <translation>svarar inte</translation>
    </message>
</context>
</TS>
